/* transcript_file.h - the file of a transcript: records in blocks, each block bound to all before
 * it.
 *
 *   file   = "fairlead transcript 1\n" block*
 *   block  = number u64 | wall ms u64 | body bytes u32 | body | MAC (32)
 *   body   = record*
 *   record = kind u8 | wall ms u64 | data bytes u32 | data
 *
 * Numbers are big-endian. MAC = HMAC-SHA256(key, MAC of the block before | block without its MAC);
 * before the first block stands SHA-256 of the session's id. So a byte changed anywhere, a block
 * taken out, moved or put in, shows for whoever has the key; a shorter file shows by what the store
 * remembers of its end (struct fl_tf_end).
 */
#pragma once
#include "common/aws/crypto.h"
#include "common/base/buf.h"

#define FL_TF_MAC_BYTES      FL_SHA256_BYTES
#define FL_TF_BODY_MAX_BYTES (512 * 1024)
#define FL_TF_RECORD_BYTES   13 /* of a record beside its data */

/* What the data is stands beside it. */
enum fl_tf_kind {
    FL_TF_BEGIN = 'B',   /* JSON of struct fl_tf_about (transcript.c) */
    FL_TF_OUTPUT = 'O',  /* bytes */
    FL_TF_ERRORS = 'E',  /* bytes of standard error */
    FL_TF_INPUT = 'I',   /* bytes typed; only where the plane is told to keep them */
    FL_TF_SIZE = 'S',    /* "80x24" */
    FL_TF_EXIT = 'X',    /* "EXIT_CODE: 0" */
    FL_TF_GAP = 'G',     /* how many bytes were not recorded, and why, as text */
    FL_TF_ALARM = 'A',   /* the name of an alarm */
    FL_TF_NUMBERS = 'N', /* i64 each: messages of the agent before this number are in the file or
                            not to be; of the client, where what is typed is kept */
    FL_TF_RESUMED = 'R', /* by another run of the plane; text */
    FL_TF_END = 'Z',     /* text: "Terminated", perhaps with why */
};

/* Where a file ends. */
struct fl_tf_end {
    uint64_t bytes, blocks;
    uint8_t mac[FL_TF_MAC_BYTES];
};

/* A new file: appends its first line, and says where it ends. */
int fl_tf_start(const char *session_id, struct fl_buf *out, struct fl_tf_end *ret_end);

/* Appends a record to a body, a block to a file; the latter moves `end`. 0, -EMSGSIZE, -ENOMEM. */
int fl_tf_record(struct fl_buf *body, char kind, int64_t wall_ms, const void *data, size_t len);
int fl_tf_block(const uint8_t key[FL_SEAL_KEY_BYTES], int64_t wall_ms, const void *body, size_t len,
                struct fl_buf *out, struct fl_tf_end *end);

/* The data of FL_TF_NUMBERS. The second is -1 where there is none. */
#define FL_TF_NUMBERS_BYTES 16
size_t fl_tf_numbers(const int64_t numbers[2], uint8_t out[FL_TF_NUMBERS_BYTES]);
void fl_tf_numbers_read(const void *data, size_t len, int64_t ret_numbers[2]);

/* How many bytes of a body, whole records, fit into one block. */
size_t fl_tf_fit(const void *body, size_t len);

/* A record; its data is gone after the return. Not 0 ends the reading with that. */
typedef int (*fl_tf_fn)(void *arg, char kind, int64_t wall_ms, const void *data, size_t len);

/* Reads whole blocks from *at on, at most so many bytes but at least one block; *at moves behind
 * them. {0} is the beginning. 1: there is more, 0: the file ends there; -EBADMSG with what is wrong
 * and where, -ENODATA: what is left is the beginning of a block, or of a file; the callback's
 * result. Records of a block are told after the whole block was found right. */
int fl_tf_read(int fd, const uint8_t key[FL_SEAL_KEY_BYTES], const char *session_id,
               struct fl_tf_end *at, size_t max_bytes, fl_tf_fn fn, void *arg, struct fl_err *err);

/* The place behind the block that ends at `bytes`, as fl_tf_read left it: -EBADMSG if none does. */
int fl_tf_seek(int fd, const char *session_id, uint64_t bytes, struct fl_tf_end *ret_at,
               struct fl_err *err);
