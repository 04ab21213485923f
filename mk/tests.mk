# Tests, fuzzing, benchmarks, lint. Included by the Makefile.
#
# A test program is tests/<component>/**/test_*.c with its own main(); what it is linked with follows
# from <component>. A fuzz target is tests/fuzz/fuzz_<name>.c; its corpus is tests/fuzz/corpus/<name>/.

TEST_SRC := $(shell find tests -name 'test_*.c' -not -path 'tests/fuzz/*' | sort)
TEST_BIN := $(patsubst %.c,$(BUILD)/%,$(TEST_SRC))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))

# Archives a component's tests may use, those that exist, users before what they use.
if_src = $(if $(wildcard $(1)),$(BUILD)/$(2))
AGENT_LIBS  := $(call if_src,agent/*.c agent/monitor/*.c agent/cli/*.c,libagent.a) \
               $(call if_src,agent/worker/*.c,libagentworker.a) \
               $(call if_src,agent/net/*.c,libagentnet.a) \
               $(call if_src,agent/fetch/*.c,libagentfetch.a) \
               $(call if_src,agent/policy/*.c,libagentpolicy.a) \
               $(call if_src,agent/holder/*.c,libagentholder.a) \
               $(call if_src,agent/session/*.c,libagentsession.a) \
               $(call if_src,agent/calls/*.c,libagentcalls.a) \
               $(call if_src,agent/lib/*.c,libagentlib.a)
PLUGIN_LIBS := $(call if_src,plugins/*.c plugins/*/*.c,libplugins.a)
SERVER_LIBS := $(call if_src,server/*.c server/*/*.c,libserver.a)
SERVER_FIXTURE := $(wildcard tests/server/fixture.c)

TEST_LIBS_common  := $(COMMON_LIB)
TEST_LIBS_cli     := $(BUILD)/libcli.a $(COMMON_LIB)
TEST_LIBS_plugins := $(PLUGIN_LIBS) $(COMMON_LIB)
TEST_LIBS_agent   := $(AGENT_LIBS) $(PLUGIN_LIBS) $(COMMON_LIB)
TEST_LIBS_server  := $(call obj,$(SERVER_FIXTURE)) $(SERVER_LIBS) $(COMMON_LIB)
FUZZ_LIBS := $(if $(SERVER_FIXTURE),$(BUILD)/libfixture.a) $(COMMON_LIB) $(PLUGIN_LIBS) $(AGENT_LIBS) $(SERVER_LIBS) $(BUILD)/libcli.a

# There are 200 of them, and binutils' other linker takes half the time. Not without a sanitizer: what scripts/faults
# does at each call, unwinding by tables, takes twice as long in its programs.
TEST_LD := $(if $(SAN),$(if $(shell command -v ld.gold),-fuse-ld=gold))

define test_rule
$(BUILD)/tests/$(1)/%: $(BUILD)/tests/$(1)/%.o $$(TEST_LIBS_$(1))
	@echo "  LD    $$@"
	@$$(CC) $$(LDFLAGS_ALL) $$(TEST_LD) -o $$@ $$< $$(filter %.o,$$(TEST_LIBS_$(1))) \
	    -Wl,--start-group $$(filter %.a,$$(TEST_LIBS_$(1))) -Wl,--end-group $$(PKG_LIBS) -lcmocka -lpthread -ldl
endef
$(foreach c,common cli plugins agent server,$(eval $(call test_rule,$(c))))

$(BUILD)/libfixture.a: $(call obj,$(SERVER_FIXTURE))
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay_main.o $(FUZZ_LIBS)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) $(TEST_LD) -o $@ $(filter %.o,$^) \
	    -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lcmocka -lpthread -ldl

# A program's own part, which no archive has.
$(BUILD)/tests/fuzz/fuzz_key $(BUILD)/libfuzzer/fuzz_key: $(BUILD)/agent/key/ops.o

# What test_privileges.py puts in the place of net and fetch.
TAKEOVER := $(BUILD)/tests/e2e/takeover
$(TAKEOVER): $(BUILD)/tests/e2e/takeover.o $(AGENT_LIBS) $(COMMON_LIB)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread -ldl

# Tests fill `char *` members of messages with literals, which nobody writes to.
$(BUILD)/tests/%.o $(BUILD)/tests/%.syntax: CFLAGS_ALL += -Wno-write-strings

# Objects of tests stay: make would delete them as intermediates of the rules above.
.SECONDARY: $(call obj,$(TEST_SRC) $(FUZZ_SRC) $(SWARM_SRC) tests/bench/session.c tests/bench/crowd.c tests/e2e/takeover.c \
             tests/fuzz/replay_main.c $(SERVER_FIXTURE))

.PHONY: test-programs fuzz-replay lint-fast
# The swarm (tests/bench/swarm.h): nodes made of the agent's own network code. What that code asks of
# the processes around it, the linker gives to the swarm.
SWARM := $(BUILD)/tests/bench/swarm
SWARM_SRC := $(wildcard tests/bench/swarm*.c)
SWARM_WRAP := fl_ipc_send fl_ws_connect fl_ws_ping malloc_trim connect SSL_set_session
$(SWARM): $(call obj,$(SWARM_SRC)) $(AGENT_LIBS) $(PLUGIN_LIBS) $(COMMON_LIB)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) $(SWARM_WRAP:%=-Wl,--wrap=%) -o $@ $(filter %.o,$^) \
	    -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lpthread -ldl

# What a session's wire costs by itself (tests/bench/session.c).
SESSION_BENCH := $(BUILD)/tests/bench/session
$(SESSION_BENCH): $(BUILD)/tests/bench/session.o $(COMMON_LIB)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread -ldl

# Many sessions with one node (tests/bench/crowd.c): the client's, in one process.
CROWD := $(BUILD)/tests/bench/crowd
$(CROWD): $(BUILD)/tests/bench/crowd.o $(BUILD)/libcli.a $(COMMON_LIB)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread -ldl

# `make unit T=codec` builds and runs only the programs whose path holds that word; `make e2e T=…` likewise.
T ?=
matching = $(if $(T),$(foreach f,$(1),$(if $(findstring $(T),$(f)),$(f))),$(1))
test-programs: $(call matching,$(TEST_BIN) $(FUZZ_BIN)) $(TAKEOVER) $(SWARM) $(CROWD)

RUN_TESTS := $(PYTHON) scripts/run-tests --build $(BUILD) $(if $(T),--match '$(T)')

# Preloaded into test programs: calls that fail, are interrupted or do a part (tests/preload/fault.h).
FAULT_SRC := $(sort $(wildcard tests/preload/*.c))
FAULT_LIB := $(BUILD)/libfault.so
$(FAULT_LIB): $(FAULT_SRC) tests/preload/fault.h
	@mkdir -p $(dir $@)
	@echo "  LD    $@"
	@$(CC) -std=gnu17 -O1 -g $(WARN) -fPIC -fvisibility=hidden -fno-builtin -D_GNU_SOURCE -shared -o $@ \
	    $(FAULT_SRC) -lgcc_s

# Under a sanitizer the sample of failing calls adds nothing: `make check-calls` does all of it there.
check: all test-programs $(if $(SAN),,$(FAULT_LIB))
	@$(RUN_TESTS) unit fuzz $(if $(SAN),,faults) e2e

unit: test-programs
	@$(RUN_TESTS) unit fuzz

e2e: all $(TAKEOVER) $(SWARM) $(CROWD)
	@$(RUN_TESTS) e2e

# What `check` has no time for: every point of the loops over faults, the tests marked `long`, and a power
# cut at each byte of a job's files.
.PHONY: check-faults
check-faults: export FAULTS_FULL = 1
check-faults: all $(BUILD)/tests/agent/monitor/test_jobs_faults $(BUILD)/tests/agent/worker/test_reboot
	@$(BUILD)/tests/agent/monitor/test_jobs_faults
	@$(BUILD)/tests/agent/worker/test_reboot
	@SANDBOX_BUILD=$(BUILD) $(PYTHON) -m pytest -c tests/e2e/pytest.ini --rootdir tests/e2e -n 2 \
	    tests/e2e/test_faults_plane.py tests/e2e/test_faults_agent.py \
	    tests/e2e/test_faults_documents.py $(if $(T),-k '$(T)')

# SWEEP: alloc fd disk proc noise; SAMPLE: at most so many places of a program for each kind of failure.
.PHONY: check-calls check-valgrind check-tsan
SWEEP ?=
SAMPLE ?=
check-calls: all test-programs $(FAULT_LIB)
	@scripts/faults --build $(BUILD) --log $(BUILD)/calls $(if $(T),--match '$(T)') \
	    $(if $(SAMPLE),--sample $(SAMPLE)) $(SWEEP)

check-valgrind: test-programs
	@$(RUN_TESTS) --valgrind unit fuzz

# The unit tests, then the plane under many callers and sessions, killed and restarted.
TSAN_E2E := test_concurrent or test_faults.py or test_sessions.py or test_transcripts or test_tunnels
TSAN := BUILD=build/tsan SAN=-fsanitize=thread OPT="-O1 -g -fno-omit-frame-pointer"
check-tsan: export FL_TEST_PATIENCE = 10
check-tsan:
	@$(MAKE) --no-print-directory $(TSAN) all test-programs
	@$(MAKE) --no-print-directory $(TSAN) unit
	@$(MAKE) --no-print-directory $(TSAN) e2e T='$(or $(T),$(TSAN_E2E))'

# -g1 is what a report needs: functions and lines.
ASAN := BUILD=build/asan SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined" OPT="-O1 -g1 -fno-omit-frame-pointer"
check-asan:
	@$(MAKE) --no-print-directory $(ASAN) check

# libFuzzer needs clang; everything the targets link is rebuilt with coverage in build/fuzz. The
# linker's map beside each target tells scripts/fuzz what code is in it.
FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 1
fuzz:
	@$(MAKE) --no-print-directory BUILD=build/fuzz CC=clang OPT="-O1 -g -fno-omit-frame-pointer" \
	    SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" libfuzzer-programs
	@scripts/fuzz --build build/fuzz --seconds $(FUZZ_SECONDS) --jobs $(FUZZ_JOBS) $(if $(T),--match '$(T)')

.PHONY: libfuzzer-programs
libfuzzer-programs: $(patsubst $(BUILD)/tests/fuzz/%,$(BUILD)/libfuzzer/%,$(FUZZ_BIN))
$(BUILD)/libfuzzer/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_LIBS)
	@mkdir -p $(dir $@)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -Wl,-Map=$@.map -o $@ $(filter %.o,$^) \
	    -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lcmocka -lpthread -ldl

# Load: 15,000 nodes at one plane; SCALE=0.1 for a tenth of them, T=WORD for one scenario.
SCALE ?= 1
.PHONY: check-load
check-load: all $(SWARM) $(CROWD)
	@$(PYTHON) tests/bench/load.py --build $(BUILD) --scale $(SCALE) $(if $(T),--only '$(T)')

.PHONY: bench-baseline
BENCH := $(PYTHON) tests/bench/bench.py --build $(BUILD) $(if $(T),--only '$(T)')
bench: all $(SESSION_BENCH)
	@$(BENCH) $(if $(STRICT),--strict)
bench-baseline: all $(SESSION_BENCH)
	@$(BENCH) --baseline 5

# Amounts are multiplied by SCALE; `make check-soak T=week SCALE=0.1` is one part in a tenth of its time.
.PHONY: check-soak
check-soak: all
	@$(PYTHON) tests/soak/soak.py --build $(BUILD) --scale $(SCALE) $(if $(T),--only '$(T)')

lint:
	@scripts/lint

# For scripts: what the sanitizer run needs, built in parallel; every source parsed and checked only.
.PHONY: asan-programs syntax
asan-programs:
	@$(MAKE) --no-print-directory $(ASAN) all test-programs
ALL_SRC := $(COMMON_SRC) $(PLUGIN_SRC) $(SERVER_SRC) $(CLI_SRC) $(TEST_SRC) $(FUZZ_SRC) $(SWARM_SRC) tests/bench/session.c tests/bench/crowd.c tests/e2e/takeover.c \
           $(sort $(AGENT_SRC) $(wildcard agent/*/*.c))
syntax: $(ALL_SRC:%.c=$(BUILD)/%.syntax)
$(BUILD)/%.syntax: %.c | $(BUILD)/gen/sql_table.h $(BUILD)/gen/embedded.h
	@mkdir -p $(dir $@)
	@$(CC) $(CFLAGS_ALL) -fsyntax-only -MF $(@:.syntax=.syntax.d) -MT $@ $<
	@touch $@

# The units on a booted Debian with its systemd (tests/system/run.py). Takes root and some minutes.
check-system: all
	@$(PYTHON) tests/system/run.py --build $(BUILD)
.PHONY: check-system
