/* SPDX-License-Identifier: Apache-2.0
 * hub_internal — what the files of this room share.
 *
 *     name --place--> folders      endpoint --http--> answers --listing--> files
 *     files --pull--> each --fetch--> blob, checked --> link in the snapshot */
#pragma once
#include "base/arena.h"
#include "base/file.h"
#include "ingot/hub.h"

#include <pthread.h>
#include <stdatomic.h>

#define HUB_NAME_MAX     96  /* huggingface_hub's limit */
#define HUB_REVISION_MAX 200 /* a branch, a tag, refs/pr/N */
#define HUB_HEX_MAX      65  /* SHA-256 */
#define HUB_CONNECTIONS  8   /* huggingface_hub's max_workers */
#define HUB_RETRIES      5   /* huggingface_hub's */
#define HUB_JSON_MAX     ((size_t)64 << 20)
#define HUB_FILES_MAX    50000 /* the Hub cuts longer lists */
#define HUB_PATH_MAX     1024  /* of a file in a repository */

/* ---- place.c: names, environment, folders ---- */
struct hub_id {
    enum ig_hub_kind kind;
    char repo[HUB_NAME_MAX + 1];
    char revision[HUB_REVISION_MAX + 1]; /* "main" when none is given */
};
IG_MUST_CHECK bool hub__id_read(enum ig_hub_kind kind, const char *text, struct hub_id *out,
                                struct ig_err *err);
bool hub__is_hex(struct ig_slice text, size_t len);
bool hub__is_commit(const char *text);
/* A variable that is set and not empty, or NULL. */
const char *hub__variable(const char *name);
bool hub__is_offline(void);
/* A path as huggingface_hub reads it from a variable: with ~ and $NAME. */
IG_MUST_CHECK bool hub__expand(const char *text, char out[IG_PATH_MAX], struct ig_err *err);
/* The cache's folder. */
IG_MUST_CHECK bool hub__cache(char out[IG_PATH_MAX], struct ig_err *err);
/* $HF_HOME/name. */
IG_MUST_CHECK bool hub__home(const char *name, char out[IG_PATH_MAX], struct ig_err *err);
/* "models--ORG--NAME" */
void hub__folder_name(const struct hub_id *id, char out[HUB_NAME_MAX + 32]);
/* CACHE/models--ORG--NAME */
IG_MUST_CHECK bool hub__repo_folder(const struct hub_id *id, char out[IG_PATH_MAX],
                                    struct ig_err *err);
/* The commit that the cache knows for id's revision; "" when it knows none. */
IG_MUST_CHECK bool hub__cached_commit(const struct hub_id *id, const char *folder, char out[41],
                                      struct ig_err *err);
/* Makes a folder and those above it. */
IG_MUST_CHECK bool hub__make_folders(const char *path, struct ig_err *err);

/* ---- listing.c: what the Hub says of a revision ---- */
struct hub_file {
    struct ig_slice path; /* checked: names below a folder; ends in NUL */
    uint64_t bytes;
    char digest[HUB_HEX_MAX]; /* names its blob; "": the listing does not say */
    char git[HUB_HEX_MAX];    /* its blob's name in git: of an LFS file, that of the pointer */
    bool is_lfs;              /* digest is the SHA-256 of the bytes, else git's SHA-1 */
    bool wanted, whole;       /* asked for; all its bytes are there */
};
struct hub_listing {
    char commit[41];
    struct hub_file *files; /* sorted by path, in the arena */
    int64_t count;
};
/* What a name of a file in a repository must be to become one here. */
bool hub__is_path(struct ig_slice path);
IG_MUST_CHECK bool hub__listing_read(struct ig_slice text, struct ig_arena *arena,
                                     struct hub_listing *out, struct ig_err *err);
/* Marks the files that are wanted; how many. */
int64_t hub__listing_select(struct hub_listing *listing, const char *include, const char *exclude);

/* ---- hash.c ---- */
struct hub_hash; /* a digest under way */
struct hub_hash *hub__hash_new(struct ig_err *err);
void hub__hash_free(struct hub_hash *hash);
/* Begins anew, for a file of so many bytes. */
IG_MUST_CHECK bool hub__hash_start(struct hub_hash *hash, const struct hub_file *file,
                                   struct ig_err *err);
void hub__hash_feed(struct hub_hash *hash, const void *bytes, size_t count);
/* Whether what was fed has the file's digest. */
bool hub__hash_agrees(struct hub_hash *hash, const struct hub_file *file);

/* ---- meter.c: progress of all connections, and whether to stop ---- */
struct hub_meter {
    const struct ig_watch *watch;
    pthread_mutex_t lock;
    atomic_bool stop; /* the watch asked to stop */
    double told;      /* when the watch was last called; under lock */
    atomic_llong bytes_done, bytes_total, files_done;
    int64_t files_total;
};
void hub__meter_init(struct hub_meter *meter, const struct ig_watch *watch);
void hub__meter_release(struct hub_meter *meter);
/* Tells the watch, not too often; false when it asked to stop. */
bool hub__meter_tick(struct hub_meter *meter);
/* Sends a warning, from any thread. */
void hub__meter_warn(struct hub_meter *meter, const char *format, ...) IG_PRINTF(2, 3);
/* Sleeps; false, with err set, when the watch asked to stop meanwhile. */
IG_MUST_CHECK bool hub__meter_wait(struct hub_meter *meter, double seconds, struct ig_err *err);
bool hub__stopped(struct ig_err *err);

/* ---- http.c: one request, with its redirects ---- */
struct hub_answer {
    long status;
    bool own;       /* it came from the endpoint's host, not from one it sent us to */
    int64_t length; /* Content-Length, or -1 */
    bool ranged;    /* a Content-Range that could be read: its first byte, the file's bytes */
    uint64_t range_first, range_total; /* total UINT64_MAX: not told */
    /* The rest is the endpoint's own word. */
    char digest[HUB_HEX_MAX]; /* X-Linked-Etag, else ETag */
    bool linked;              /* the file is in LFS: it had X-Linked-Etag */
    int64_t linked_bytes;     /* X-Linked-Size, or -1 */
    char commit[41];
    char code[64], message[200]; /* X-Error-Code, X-Error-Message */
    double retry_after;          /* seconds, or -1 */
};
struct hub_call {
    const char *path; /* "/api/models/..": after the endpoint */
    bool head;        /* HEAD; a redirect to another host is not followed */
    uint64_t from;    /* bytes from there on; 0: all */
    /* Of a 2xx answer: once before its body, then for each piece. */
    bool (*begin)(void *user, const struct hub_answer *answer, struct ig_err *err);
    bool (*body)(void *user, const void *bytes, size_t count, struct ig_err *err);
    void *user;
};
enum hub_outcome {
    HUB_DONE,
    HUB_AGAIN,  /* failed, but not for good: err says how */
    HUB_FAILED, /* err says why */
};
struct hub_http; /* a connection: one thread's */
IG_MUST_CHECK struct hub_http *hub__http_new(const struct hub_id *id, struct hub_meter *meter,
                                             struct ig_err *err);
void hub__http_free(struct hub_http *http);
enum hub_outcome hub__http_call(struct hub_http *http, const struct hub_call *call,
                                struct hub_answer *answer, struct ig_err *err);
/* Bytes as they may stand in a URL's path; '/' stays when keep_slash. */
void hub__url_quote(struct ig_buf *out, struct ig_slice text, bool keep_slash);

/* ---- refusal.c: what a status means to the user ---- */
/* code and text for an answer that is no success; and whether to try again. */
enum hub_outcome hub__refusal(const struct hub_id *id, const char *endpoint, bool has_token,
                              const struct hub_answer *answer, struct ig_err *err);

/* ---- pull.c: a job; fetch.c: a file of it; keep.c: what stays on the disk ---- */
struct hub_pull {
    const struct ig_hub_job *job;
    struct hub_id id;
    struct hub_meter meter;
    struct ig_arena arena;
    struct hub_listing listing;
    int retries;
    char cache[IG_PATH_MAX];    /* the cache; with job->to that folder's own .cache */
    char folder[IG_PATH_MAX];   /* CACHE/models--ORG--NAME; with job->to that folder */
    char blobs[IG_PATH_MAX];    /* where unfinished files are, and blobs */
    char locks[IG_PATH_MAX];    /* CACHE/.locks/models--ORG--NAME */
    char snapshot[IG_PATH_MAX]; /* where the files' names go */
    atomic_llong fetched_files, fetched_bytes;
};
struct hub_worker { /* one thread's */
    int thread;
    struct hub_http *http;
    struct hub_hash *hash;
};
/* Counts a failure (err says which), waits as long as it is worth, and clears err. False, with err
 * set, when it is not worth any more. moved: there was progress since the failure before. */
IG_MUST_CHECK bool hub__again(struct hub_pull *pull, int thread, const struct hub_answer *answer,
                              bool moved, int *failures, const char *what, struct ig_err *err);
/* "/ORG/NAME/resolve/COMMIT/PATH" */
void hub__file_url(const struct hub_pull *pull, const struct hub_file *file, struct ig_buf *out);
/* The file's bytes, checked, to `whole`; nothing to do when it is there with the right size. */
IG_MUST_CHECK bool hub__fetch(struct hub_pull *pull, struct hub_worker *worker,
                              const struct hub_file *file, const char *whole, struct ig_err *err);
/* BLOBS/DIGEST.incomplete: the bytes that are there of a file under way. */
uint64_t hub__unfinished(const struct hub_pull *pull, const struct hub_file *file);
bool hub__has_size(const char *path, uint64_t bytes);
/* BLOBS/DIGEST, or FOLDER/PATH where files are copies. */
IG_MUST_CHECK bool hub__whole_path(const struct hub_pull *pull, const struct hub_file *file,
                                   char out[IG_PATH_MAX], struct ig_err *err);
/* SNAPSHOT/PATH -> ../../blobs/DIGEST, in one step. */
IG_MUST_CHECK bool hub__keep_link(const struct hub_pull *pull, const struct hub_file *file,
                                  struct ig_err *err);
/* The note that huggingface_hub keeps beside a file in a folder of its own: commit, digest, time.
 */
IG_MUST_CHECK bool hub__keep_note(const struct hub_pull *pull, const struct hub_file *file,
                                  struct ig_err *err);
/* Whether such a note says that the file at FOLDER/PATH is the Hub's; its digest then. */
bool hub__find_note(const struct hub_pull *pull, const struct hub_file *file,
                    char digest[HUB_HEX_MAX]);
/* refs/REVISION, trees/COMMIT.json, CACHEDIR.TAG: after all files are there. */
IG_MUST_CHECK bool hub__keep_revision(const struct hub_pull *pull, struct ig_err *err);
/* The listing that trees/COMMIT.json keeps; false, without an error, when there is none. */
bool hub__find_tree(struct hub_pull *pull, const char *commit);
