# fairlead: one flat makefile. `make help` lists the targets.
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC := gcc
endif
VERSION := $(shell cat VERSION)

PYTHON ?= /usr/bin/python3
PKGS   := libcurl libssl libcrypto jansson libwebsockets libuv uuid sqlite3 libseccomp libcap libpcre2-8 yaml-0.1 zlib smartcols libarchive
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS))
ifneq ($(.SHELLSTATUS),0)
ifneq ($(or $(if $(MAKECMDGOALS),,all),$(filter-out help clean distclean format,$(MAKECMDGOALS))),)
$(error pkg-config does not find all libraries (see above): scripts/deps installs them on Debian and Ubuntu)
endif
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
        -Wformat=2 -Wimplicit-fallthrough -Wundef -Wwrite-strings -Wno-unused-parameter
ifeq ($(WERROR),1)
WARN += -Werror
endif
HARDEN := -fPIE -fstack-protector-strong -fcf-protection=full -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fno-common \
          -ffile-prefix-map=$(abspath $(BUILD))=build -ffile-prefix-map=$(CURDIR)=.
OPT    ?= -O2 -g
LDHARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
# A program gets the functions it calls, not all of a file's: a quarter less to install.
ifeq ($(SAN),)
SECTIONS   := -ffunction-sections -fdata-sections
LDSECTIONS := -Wl,--gc-sections
endif
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARN) $(HARDEN) $(SECTIONS) $(SAN) -I. -I$(BUILD) $(PKG_CFLAGS) -D_GNU_SOURCE \
              -DFL_VERSION='"$(VERSION)"' -DFL_PREFIX='"$(PREFIX)"' -MMD -MP $(CPPFLAGS) $(CFLAGS)
LDFLAGS_ALL := $(LDHARDEN) $(LDSECTIONS) $(SAN) $(LDFLAGS)

# ---- sources: a directory is a component; an archive gives each program just what it uses ----
COMMON_SRC  := $(wildcard common/*/*.c)
PLUGIN_SRC  := $(wildcard plugins/*.c plugins/*/*.c)
AGENT_SRC   := $(wildcard agent/*.c agent/monitor/*.c agent/cli/*.c)
SERVER_SRC  := $(wildcard server/*.c server/*/*.c)
CLI_SRC     := $(wildcard cli/*.c)
SQL_SRC     := $(sort $(wildcard server/store/schema/*.sql)) $(sort $(wildcard server/store/queries/*.sql))

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

PROGRAMS := fairlead-agent fairlead-agent-worker fairlead-agent-net fairlead-agent-fetch fairlead-agent-key fairlead-agent-policy \
            fairlead-agent-unpack fairlead-agent-holder fairlead-agent-session fairlead-server fairlead
BINARIES := $(addprefix $(BUILD)/,$(PROGRAMS))

.PHONY: all help check check-asan fuzz bench format lint install install-strip clean distclean unit e2e
all: $(BINARIES) $(BUILD)/fairlead.1

help:
	@echo "make            build everything into $(BUILD)/"
	@echo "make check      unit tests, fuzz corpora, end-to-end tests"
	@echo "make unit       unit tests and fuzz corpora only"
	@echo "make check-calls    every test with memory, descriptors, disk running out at each place, and interrupted calls"
	@echo "make check-valgrind unit tests under memcheck; make check-tsan under ThreadSanitizer, with a loaded plane"
	@echo "make check-asan the same unit tests and the end-to-end tests under ASan and UBSan"
	@echo "make check-system  the systemd units on a booted Debian (root, minutes)"
	@echo "make fuzz       run every fuzz target (FUZZ_SECONDS of CPU time each, default 60)"
	@echo "make check-faults  faults that take minutes to go through (15 minutes)"
	@echo "make check-soak long runs with a fast clock and high rates (25 minutes; SCALE=0.1 for less)"
	@echo "make bench      measure and print the table of budgets; STRICT=1 fails on a regression"
	@echo "make check-load a fleet of 15,000 nodes at one plane, up to 12 minutes (SCALE=0.1, T=WORD)"
	@echo "make lint       format, include layers, shellcheck, cppcheck, both compilers with -Werror"
	@echo "make format     rewrite sources with clang-format"
	@echo "make install    DESTDIR= PREFIX= UNITDIR=; install-strip without debugging information"
	@echo "make clean      remove $(BUILD)/"
	@echo "Variables: BUILD, CC, OPT; CPPFLAGS, CFLAGS and LDFLAGS are added to ours; WERROR=1 makes warnings errors"

$(BUILD)/libcommon.a: $(call obj,$(COMMON_SRC))
$(BUILD)/libplugins.a: $(call obj,$(PLUGIN_SRC))
$(BUILD)/libserver.a: $(call obj,$(filter-out server/main.c,$(SERVER_SRC))) $(BUILD)/gen/sql_table.o $(BUILD)/gen/embedded.o
$(BUILD)/libagent.a: $(call obj,$(filter-out agent/main.c,$(AGENT_SRC)))
$(BUILD)/libcli.a: $(call obj,$(filter-out cli/main.c,$(CLI_SRC)))
$(BUILD)/libagentlib.a: $(call obj,$(wildcard agent/lib/*.c))
$(BUILD)/libagentworker.a: $(call obj,$(filter-out agent/worker/main.c,$(wildcard agent/worker/*.c)))
$(BUILD)/libagentcalls.a: $(call obj,$(wildcard agent/calls/*.c))
$(BUILD)/libagentfetch.a: $(call obj,$(filter-out agent/fetch/main.c,$(wildcard agent/fetch/*.c)))
$(BUILD)/libagentnet.a: $(call obj,$(filter-out agent/net/main.c,$(wildcard agent/net/*.c)))
$(BUILD)/libagentpolicy.a: $(call obj,$(filter-out agent/policy/main.c,$(wildcard agent/policy/*.c)))
$(BUILD)/libagentholder.a: $(call obj,$(filter-out agent/holder/main.c,$(wildcard agent/holder/*.c)))
$(BUILD)/libagentsession.a: $(call obj,$(filter-out agent/session/main.c,$(wildcard agent/session/*.c)))
$(BUILD)/lib%.a:
	@rm -f $@
	@ar rcs $@ $^

# An archive stands after those that use it.
COMMON_LIB := $(BUILD)/libcommon.a
AGENT_LIB  := $(BUILD)/libagentlib.a
$(BUILD)/fairlead-agent: $(call obj,agent/main.c) $(BUILD)/libagent.a $(BUILD)/libplugins.a $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-worker: $(call obj,agent/worker/main.c) $(BUILD)/libagentworker.a $(BUILD)/libagentcalls.a $(BUILD)/libplugins.a $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-net: $(call obj,agent/net/main.c) $(BUILD)/libagentnet.a $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-fetch: $(call obj,agent/fetch/main.c) $(BUILD)/libagentfetch.a $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-key: $(call obj,$(wildcard agent/key/*.c)) $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-policy: $(call obj,agent/policy/main.c) $(BUILD)/libagentpolicy.a $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-unpack: $(call obj,agent/unpack/main.c) $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-holder: $(call obj,agent/holder/main.c) $(BUILD)/libagentholder.a $(BUILD)/libagentcalls.a $(BUILD)/libplugins.a $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-agent-session: $(call obj,agent/session/main.c) $(BUILD)/libagentsession.a $(AGENT_LIB) $(COMMON_LIB)
$(BUILD)/fairlead-server: $(call obj,server/main.c) $(BUILD)/libserver.a $(COMMON_LIB)
$(BUILD)/fairlead: $(call obj,cli/main.c) $(BUILD)/libcli.a $(COMMON_LIB)
$(BINARIES):
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread -ldl

# The client's manual and completions come from its table of commands.
$(BUILD)/fairlead.1: $(BUILD)/fairlead
	@$< help --man > $@.tmp && mv $@.tmp $@

$(BUILD)/%.o: %.c
	@mkdir -p $(dir $@)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -c -o $@ $<

# What has the prefix or the version compiled in is compiled again where they are not those of the last build.
$(BUILD)/gen/names: FORCE
	@mkdir -p $(dir $@)
	@echo '$(PREFIX) $(VERSION)' | cmp -s - $@ || echo '$(PREFIX) $(VERSION)' > $@
$(call obj,$(shell grep -rlE 'FL_(PREFIX|VERSION)\b' --include='*.c' agent cli common plugins server)): $(BUILD)/gen/names
.PHONY: FORCE

# SQL files become one table of named statements and one of schema steps.
$(BUILD)/gen/sql_table.h: $(SQL_SRC) scripts/sql-table
	@mkdir -p $(dir $@)
	@scripts/sql-table --header $(SQL_SRC) > $@.tmp && (cmp -s $@.tmp $@ || mv $@.tmp $@)
$(BUILD)/gen/sql_table.c: $(SQL_SRC) scripts/sql-table
	@mkdir -p $(dir $@)
	@scripts/sql-table $(SQL_SRC) > $@.tmp && mv $@.tmp $@
$(BUILD)/gen/sql_table.o: $(BUILD)/gen/sql_table.c $(BUILD)/gen/sql_table.h
	@$(CC) $(CFLAGS_ALL) -c -o $@ $<
$(call obj,$(SERVER_SRC) $(wildcard tests/server/*.c tests/server/*/*.c tests/fuzz/*.c)): | $(BUILD)/gen/sql_table.h

# Built-in documents become one table of texts; "@FILE" in them is a file's lines.
BUILTIN_SRC := $(sort $(wildcard server/builtin/*.json))
BUILTIN_INC := $(sort $(wildcard server/builtin/*/*.sh))
$(BUILD)/gen/embedded.h: scripts/embed-files
	@mkdir -p $(dir $@)
	@scripts/embed-files --header > $@.tmp && mv $@.tmp $@
$(BUILD)/gen/embedded.c: $(BUILTIN_SRC) $(BUILTIN_INC) scripts/embed-files
	@mkdir -p $(dir $@)
	@scripts/embed-files $(BUILTIN_SRC) > $@.tmp && mv $@.tmp $@
$(BUILD)/gen/embedded.o: $(BUILD)/gen/embedded.c $(BUILD)/gen/embedded.h
	@$(CC) $(CFLAGS_ALL) -c -o $@ $<
$(call obj,$(wildcard server/api/*.c)): | $(BUILD)/gen/embedded.h

-include mk/tests.mk

# What a package would ship; install-strip leaves the debugging information out.
INSTALL_PROGRAM ?= install -m 0755
UNITDIR ?= $(PREFIX)/lib/systemd/system
MADE_TEXTS = $(addprefix $(PREFIX)/share/,man/man8/fairlead-agent.8 man/man8/fairlead-server.8 \
    bash-completion/completions/fairlead zsh/site-functions/_fairlead fish/vendor_completions.d/fairlead.fish) \
    $(UNITDIR)/fairlead-agent.service $(UNITDIR)/fairlead-server.service
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/libexec/fairlead $(DESTDIR)$(UNITDIR)
	$(INSTALL_PROGRAM) $(BUILD)/fairlead $(DESTDIR)$(PREFIX)/bin/
	ln -sf fairlead $(DESTDIR)$(PREFIX)/bin/session-manager-plugin
	$(INSTALL_PROGRAM) $(BUILD)/fairlead-agent $(BUILD)/fairlead-server $(DESTDIR)$(PREFIX)/sbin/
	$(INSTALL_PROGRAM) $(BUILD)/fairlead-agent-worker \
	        $(BUILD)/fairlead-agent-net $(BUILD)/fairlead-agent-fetch $(BUILD)/fairlead-agent-key \
	        $(BUILD)/fairlead-agent-policy $(BUILD)/fairlead-agent-unpack $(BUILD)/fairlead-agent-holder \
	        $(BUILD)/fairlead-agent-session $(DESTDIR)$(PREFIX)/libexec/fairlead/
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man1 man/man8 bash-completion/completions zsh/site-functions \
	        fish/vendor_completions.d)
	install -m 0644 $(BUILD)/fairlead.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	for page in fairlead-agent fairlead-server; do \
	    sed 's,@VERSION@,$(VERSION),' packaging/man/$$page.8 \
	        > $(DESTDIR)$(PREFIX)/share/man/man8/$$page.8 || exit 1; \
	done
	$(BUILD)/fairlead completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/fairlead
	$(BUILD)/fairlead completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_fairlead
	$(BUILD)/fairlead completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/fairlead.fish
	for unit in fairlead-agent fairlead-server; do \
	    sed 's,@SBINDIR@,$(PREFIX)/sbin,' packaging/systemd/$$unit.service \
	        > $(DESTDIR)$(UNITDIR)/$$unit.service || exit 1; \
	done
	chmod 0644 $(addprefix $(DESTDIR),$(MADE_TEXTS))

install-strip:
	@$(MAKE) --no-print-directory install INSTALL_PROGRAM="install -s -m 0755"

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

clean distclean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
