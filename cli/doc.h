/* doc.h - documents in files. */
#pragma once

/* "JSON", "YAML" or "TEXT": what the file's name says, else JSON if the text begins like it. */
const char *fl_doc_format_of(const char *path, const char *text);
