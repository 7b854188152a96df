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
