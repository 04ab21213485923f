/* journal.h - an append-only file of checked records, whole or absent after any crash.
 *
 * A record is {u32 length of the payload, u32 CRC-32 of the payload}, then the payload: {u16 type,
 * u16 zero} and a packed struct (codec.h), host byte order. What a torn write or a power cut leaves
 * at the end is cut when the file is opened for writing. One process writes, any may read at the
 * same time: a record that is not there whole yet reads as the end.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/codec/codec.h"

#define FL_JOURNAL_MAX_RECORD_BYTES (2u << 20)

/* Which shape each record type has; ends with a NULL shape. */
struct fl_journal_row {
    uint16_t type;
    const struct fl_shape *shape;
};

struct fl_journal {
    int fd;
    uint64_t end; /* writing: where the next record goes; reading: where the next one is read */
    const struct fl_journal_row *rows;
};

struct fl_journal_record {
    uint16_t type;
    uint64_t offset; /* of this record in the file */
    const void *in;  /* struct of the type's shape, in the arena given */
};

/* Takes `fd` (closed by _done). Reading starts at `offset`, which must be 0 or the offset or end of
 * a record. */
void fl_journal_init(struct fl_journal *j, int fd, const struct fl_journal_row *rows,
                     uint64_t offset);
void fl_journal_done(struct fl_journal *j);

/* The record at j->end, and moves past it. 1 if there was one, 0 at the end or before a torn
 * record, -EBADMSG for a whole record of unknown type or shape, else negative errno. */
int fl_journal_read(struct fl_journal *j, struct fl_arena *arena, struct fl_journal_record *ret);

/* Cuts the file at j->end; call it when every record has been read, before the first append. */
int fl_journal_cut(struct fl_journal *j);

/* Appends with one write; a failed one leaves no trace. Durable only after fl_journal_commit. */
int fl_journal_append(struct fl_journal *j, uint16_t type, const void *in, struct fl_err *err);
int fl_journal_commit(struct fl_journal *j, struct fl_err *err);

#define fl_autojournal FL_CLEANUP(fl_journal_done)
