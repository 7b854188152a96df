/* SPDX-License-Identifier: Apache-2.0
 * refusal — what the Hub's statuses mean, and what to do about them. The codes in X-Error-Code are
 * those that huggingface_hub knows (2.4.0, utils/_http.py). */
#include "hub/hub_internal.h"

#include <stdio.h>

static bool code_is(const struct hub_answer *answer, const char *code)
{
    return strcmp(answer->code, code) == 0;
}

static const char *kind_of(const struct hub_id *id)
{
    return id->kind == IG_HUB_MODEL ? "model" : "data set";
}

/* The Hub answers 401 to what does not exist, too, so as not to tell what is private. */
static bool refuse_access(const struct hub_id *id, const char *page, bool has_token,
                          const struct hub_answer *answer, struct ig_err *err)
{
    if (code_is(answer, "GatedRepo"))
        return ig_err_set(err, IG_ERR_IO,
                          has_token ? "%s '%s' is gated, and this token has no access: accept its "
                                      "terms at %s, then try again"
                                    : "%s '%s' is gated: accept its terms at %s, then set HF_TOKEN "
                                      "to a token of yours",
                          kind_of(id), id->repo, page);
    if (has_token && answer->status == 401 && !code_is(answer, "RepoNotFound"))
        return ig_err_set(err, IG_ERR_IO,
                          "the Hub does not take the token: make a new one and set HF_TOKEN");
    if (answer->status == 403)
        return ig_err_set(err, IG_ERR_IO, "the Hub refuses %s '%s'%s%s: %s", kind_of(id), id->repo,
                          answer->message[0] ? ": " : "", answer->message,
                          has_token ? "does the token have the right to read it?"
                                    : "set HF_TOKEN to a token that may read it");
    return ig_err_set(
        err, IG_ERR_IO, "%s '%s' does not exist on the Hub, or is private: check the name%s",
        kind_of(id), id->repo, has_token ? "" : ", or set HF_TOKEN to a token that may read it");
}

static bool refuse_absent(const struct hub_id *id, const struct hub_answer *answer,
                          struct ig_err *err)
{
    if (code_is(answer, "RevisionNotFound"))
        return ig_err_set(err, IG_ERR_IO, "%s '%s' has no revision '%s'", kind_of(id), id->repo,
                          id->revision);
    if (code_is(answer, "EntryNotFound"))
        return ig_err_set(err, IG_ERR_IO, "%s '%s' does not have this file any more", kind_of(id),
                          id->repo);
    return ig_err_set(err, IG_ERR_IO, "the Hub has no %s '%s': check the name%s", kind_of(id),
                      id->repo,
                      id->kind == IG_HUB_MODEL ? " (a data set is written datasets/ORG/NAME)" : "");
}

enum hub_outcome hub__refusal(const struct hub_id *id, const char *endpoint, bool has_token,
                              const struct hub_answer *answer, struct ig_err *err)
{
    char page[700];
    long status = answer->status;
    snprintf(page, sizeof page, "%s/%s%s", endpoint, id->kind == IG_HUB_MODEL ? "" : "datasets/",
             id->repo);
    if (!answer->own) { /* addresses elsewhere are signed for a time: the Hub gives a new one */
        ig_err_set(err, IG_ERR_IO, "the host that stores the file answers %ld", status);
        return HUB_AGAIN;
    }
    if (status == 429) {
        ig_err_set(err, IG_ERR_IO, "the Hub limits how often it is asked (429)%s",
                   has_token ? ": try again later" : ": set HF_TOKEN for more, or try again later");
        return HUB_AGAIN;
    }
    if (status == 408 || status >= 500) {
        ig_err_set(err, IG_ERR_IO, "the Hub answers %ld%s%s: try again later", status,
                   answer->message[0] ? ", " : "", answer->message);
        return HUB_AGAIN;
    }
    if (status == 401 || status == 403)
        refuse_access(id, page, has_token, answer, err);
    else if (status == 404)
        refuse_absent(id, answer, err);
    else
        ig_err_set(err, IG_ERR_IO, "the Hub answers %ld%s%s", status,
                   answer->message[0] ? ": " : "", answer->message);
    return HUB_FAILED;
}
