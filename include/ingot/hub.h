/* SPDX-License-Identifier: Apache-2.0
 * hub — models and data sets of the Hugging Face Hub: its cache on this machine, and downloads.
 *
 * Use:   ig_hub_find_model turns what a user names, a path or ORG/NAME[@REV], into a folder;
 *        ig_hub_pull downloads into the cache, or into a folder of its own.
 * Shares: the cache's layout is huggingface_hub's, with its locks: each finds what the other got.
 * Environment, as huggingface_hub reads it: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_ENDPOINT,
 *        HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT; see docs/hub.md.
 * Threads: every function may be called from any thread.
 * Limits: HUB_* in src/hub/hub_internal.h. A server is not trusted: sizes, names and digests are
 *        checked, and the token goes to the endpoint's host only. */
#pragma once
#include "ingot/buf.h"
#include "ingot/watch.h"
#include <stdint.h>

enum ig_hub_kind {
    IG_HUB_MODEL,
    IG_HUB_DATASET,
};

/* ---- the cache ---- */

/* Whether text has the form ORG/NAME or ORG/NAME@REV. Says nothing of what exists. */
bool ig_hub_is_name(const char *text);
/* The folder of what the user calls a model: a path that exists, or is no ORG/NAME, as it is; else
 * the snapshot in the cache. What is not there is an error that says how to get it. */
IG_MUST_CHECK bool ig_hub_find_model(const char *path_or_name, struct ig_buf *out,
                                     struct ig_err *err);
/* The snapshot of a data set ORG/NAME[@REV] in the cache: the files as the Hub names them. */
IG_MUST_CHECK bool ig_hub_find_dataset(const char *name, struct ig_buf *out, struct ig_err *err);
/* "ORG/NAME" of a folder inside the cache; false for any other folder. */
bool ig_hub_name_of(const char *path, struct ig_buf *out);

/* ---- downloads ---- */

struct ig_hub_job {
    enum ig_hub_kind kind;
    const char *name;    /* ORG/NAME[@REV] */
    const char *include; /* globs as fnmatch has them, split by commas; NULL: all files */
    const char *exclude; /* taken out of these; NULL: none */
    const char *to;      /* folder to fill in place of the cache, or NULL */
    bool force;          /* with to: replace files that are not the Hub's */
    int connections;     /* 0: HUB_CONNECTIONS */
    int retries;         /* in a row without progress; < 0: HUB_RETRIES */
    const struct ig_watch *watch;
};
struct ig_hub_report {
    struct ig_buf path; /* the snapshot, or `to` */
    char commit[41];
    int64_t files, files_fetched;
    uint64_t bytes, bytes_fetched;
    double seconds;
};
/* Gets what is not there yet. After any failure, a kill included, the next call goes on where this
 * one stopped. Release the report, also after a failure. */
IG_MUST_CHECK bool ig_hub_pull(const struct ig_hub_job *job, struct ig_hub_report *report,
                               struct ig_err *err);
void ig_hub_report_release(struct ig_hub_report *report);
