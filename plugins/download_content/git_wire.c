/* git_wire.c - see git_wire.h. */
#include "plugins/download_content/git_wire.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PKT_HEAD_BYTES 4
#define PKT_MAX_BYTES  65520
#define OID_CHARS      (FL_GIT_OID_BYTES - 1)

enum { BAND_PACK = 1, BAND_PROGRESS, BAND_ERROR };

bool fl_git_oid_valid(const char *text, size_t len)
{
    if (len != OID_CHARS)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int fl_git_pkt_next(const char *data, size_t len, size_t *at, struct fl_git_pkt *ret_pkt)
{
    const char *p = data + *at;
    size_t n = 0;

    if (len - *at < PKT_HEAD_BYTES)
        return 0;
    for (size_t i = 0; i < PKT_HEAD_BYTES; i++) {
        int digit = hex_digit(p[i]);

        if (digit < 0)
            return -EBADMSG;
        n = n * 16 + (size_t)digit;
    }
    if (n == 3 || n > PKT_MAX_BYTES)
        return -EBADMSG;
    if (n > len - *at)
        return 0;
    *ret_pkt = (struct fl_git_pkt){ .kind = FL_MIN(n, (size_t)FL_GIT_DATA), .data = "" };
    if (n >= PKT_HEAD_BYTES) {
        ret_pkt->data = p + PKT_HEAD_BYTES;
        ret_pkt->len = n - PKT_HEAD_BYTES;
    }
    *at += FL_MAX(n, (size_t)PKT_HEAD_BYTES);
    return 1;
}

static bool begins(const struct fl_git_pkt *pkt, const char *word)
{
    size_t n = strlen(word);

    return pkt->kind == FL_GIT_DATA && pkt->len >= n && memcmp(pkt->data, word, n) == 0;
}

/* Without the newline that may end it. */
static size_t line_len(const struct fl_git_pkt *pkt)
{
    return pkt->len - (pkt->len > 0 && pkt->data[pkt->len - 1] == '\n');
}

static bool is_line(const struct fl_git_pkt *pkt, const char *line)
{
    return begins(pkt, line) && line_len(pkt) == strlen(line);
}

static int remote_error(const char *text, size_t len, struct fl_err *err)
{
    char shown[201];
    size_t n = FL_MIN(len, sizeof(shown) - 1);

    for (size_t i = 0; i < n; i++)
        shown[i] = text[i] >= ' ' && text[i] != 127 ? text[i] : ' ';
    shown[n] = '\0';
    return fl_err_set(err, -EREMOTEIO, NULL, "the server says: %s", shown);
}

static int not_git(struct fl_err *err)
{
    return fl_err_set(err, -EBADMSG, NULL, "the server's answer is not Git's");
}

/* As fl_git_pkt_next; what is cut off or the server's complaint is an error, too. */
static int next_line(const char *body, size_t len, size_t *at, struct fl_git_pkt *pkt,
                     struct fl_err *err)
{
    int r = fl_git_pkt_next(body, len, at, pkt);

    if (r < 0 || (r == 0 && *at < len))
        return not_git(err);
    if (r == 1 && begins(pkt, "ERR "))
        return remote_error(pkt->data + 4, line_len(pkt) - 4, err);
    return r;
}

int fl_git_version(const char *body, size_t len, struct fl_err *err)
{
    struct fl_git_pkt pkt;
    bool service = false;
    size_t at = 0;
    int r;

    while ((r = next_line(body, len, &at, &pkt, err)) == 1) {
        if (is_line(&pkt, "# service=git-upload-pack")) {
            service = true;
        } else if (pkt.kind == FL_GIT_DATA) {
            if (is_line(&pkt, "version 2"))
                return 2;
            return service ? 0 : not_git(err);
        }
    }
    return r < 0 ? r : not_git(err);
}

int fl_git_find_ref(const char *body, size_t len, const char *ref, char ret_oid[FL_GIT_OID_BYTES],
                    struct fl_err *err)
{
    struct fl_git_pkt pkt;
    size_t at = 0, want = strlen(ref);
    int r;

    while ((r = next_line(body, len, &at, &pkt, err)) == 1) {
        /* "OID NAME", the first one of version 0 with capabilities behind a NUL. */
        size_t n = pkt.kind == FL_GIT_DATA ? strnlen(pkt.data, line_len(&pkt)) : 0;

        if (n != OID_CHARS + 1 + want || pkt.data[OID_CHARS] != ' ' ||
            memcmp(pkt.data + OID_CHARS + 1, ref, want) != 0)
            continue;
        if (!fl_git_oid_valid(pkt.data, OID_CHARS))
            return not_git(err);
        memcpy(ret_oid, pkt.data, OID_CHARS);
        ret_oid[OID_CHARS] = '\0';
        return 0;
    }
    return r < 0 ? r : fl_err_set(err, -ENOENT, NULL, "the repository has no %.200s", ref);
}

static int put(struct fl_buf *out, const char *line)
{
    return fl_buf_printf(out, "%04zx%s", PKT_HEAD_BYTES + strlen(line), line);
}

int fl_git_ask_ref(struct fl_buf *out, const char *ref)
{
    char line[1100];

    if ((size_t)snprintf(line, sizeof(line), "ref-prefix %s\n", ref) >= sizeof(line))
        return -EINVAL;
    return put(out, "command=ls-refs\n") < 0 || fl_buf_puts(out, "0001") < 0 ||
                   put(out, line) < 0 || fl_buf_puts(out, "0000") < 0
               ? -ENOMEM
               : 0;
}

int fl_git_ask_pack(struct fl_buf *out, int version, const char *oid)
{
    char want[128];
    int r;

    snprintf(want, sizeof(want), "want %s%s\n", oid,
             version == 2 ? "" : " side-band-64k ofs-delta no-progress shallow");
    if (version == 2)
        r = put(out, "command=fetch\n") < 0 || fl_buf_puts(out, "0001") < 0 ||
            put(out, "no-progress\n") < 0 || put(out, "ofs-delta\n") < 0 ||
            put(out, "deepen 1\n") < 0 || put(out, want) < 0 || put(out, "done\n") < 0 ||
            fl_buf_puts(out, "0000") < 0;
    else
        r = put(out, want) < 0 || put(out, "deepen 1\n") < 0 || fl_buf_puts(out, "0000") < 0 ||
            put(out, "done\n") < 0;
    return r ? -ENOMEM : 0;
}

int fl_git_pack_take(struct fl_git_pack *p, const struct fl_git_pkt *pkt, const char **ret_data,
                     size_t *ret_len, struct fl_err *err)
{
    *ret_data = NULL;
    *ret_len = 0;
    if (p->ended)
        return not_git(err);
    if (!p->begun) {
        if (begins(pkt, "ERR "))
            return remote_error(pkt->data + 4, line_len(pkt) - 4, err);
        /* Of version 2, of version 0. What comes before says where history was cut off. */
        p->begun = is_line(pkt, "packfile") || is_line(pkt, "NAK");
        return 0;
    }
    p->ended = pkt->kind != FL_GIT_DATA;
    if (p->ended || pkt->len == 0)
        return 0;
    switch (pkt->data[0]) {
    case BAND_PACK:
        *ret_data = pkt->data + 1;
        *ret_len = pkt->len - 1;
        return 0;
    case BAND_PROGRESS:
        return 0;
    case BAND_ERROR:
        return remote_error(pkt->data + 1, line_len(pkt) - 1, err);
    default:
        return not_git(err);
    }
}

/* "100644 blob OID     SIZE\tPATH\0"; a size of "-" for what has none. */
int fl_git_tree_next(const char *list, size_t len, size_t *at, struct fl_git_entry *ret_entry)
{
    const char *line = list + *at;
    const char *end = memchr(line, '\0', len - *at);
    char mode[8], type[8], oid[FL_GIT_OID_BYTES], size[24];
    int path = 0;

    if (*at == len)
        return 0;
    if (!end ||
        sscanf(line, "%7[0-7] %7[a-z] %40[0-9a-f] %23[0-9-]%n", mode, type, oid, size, &path) !=
            4 ||
        line[path] != '\t' || !line[path + 1] || !fl_git_oid_valid(oid, strlen(oid)))
        return -EBADMSG;
    *ret_entry = (struct fl_git_entry){
        .file = strcmp(type, "blob") == 0 && strncmp(mode, "100", 3) == 0,
        .path = line + path + 1,
    };
    memcpy(ret_entry->oid, oid, sizeof(oid));
    if (ret_entry->file) {
        char *rest;

        errno = 0;
        ret_entry->size = strtoull(size, &rest, 10);
        if (errno || *rest || size[0] == '-')
            return -EBADMSG;
    }
    *at = (size_t)(end + 1 - list);
    return 1;
}
