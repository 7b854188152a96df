/* SPDX-License-Identifier: Apache-2.0
 * hash — the two digests that name a blob, as a stream: SHA-256 of a file in LFS; of any other
 * git's SHA-1, which is that of "blob SIZE", a NUL, and the file. OpenSSL's, which use the
 * processor's instructions. */
#include "hub/hub_internal.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct hub_hash {
    EVP_MD_CTX *context;
    bool failed;
};

struct hub_hash *hub__hash_new(struct ig_err *err)
{
    struct hub_hash *hash = calloc(1, sizeof *hash);
    if (hash) hash->context = EVP_MD_CTX_new();
    if (hash && hash->context) return hash;
    ig_err_nomem(err);
    free(hash);
    return NULL;
}

void hub__hash_free(struct hub_hash *hash)
{
    if (!hash) return;
    EVP_MD_CTX_free(hash->context);
    free(hash);
}

bool hub__hash_start(struct hub_hash *hash, const struct hub_file *file, struct ig_err *err)
{
    char head[64];
    const EVP_MD *which = file->is_lfs ? EVP_sha256() : EVP_sha1();
    hash->failed = false;
    if (EVP_DigestInit_ex(hash->context, which, NULL) != 1)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "OpenSSL on this machine does not give %s",
                          file->is_lfs ? "SHA-256" : "SHA-1");
    int len = snprintf(head, sizeof head, "blob %" PRIu64, file->bytes);
    if (!file->is_lfs) hub__hash_feed(hash, head, (size_t)len + 1);
    return true;
}

void hub__hash_feed(struct hub_hash *hash, const void *bytes, size_t count)
{
    if (EVP_DigestUpdate(hash->context, bytes, count) != 1) hash->failed = true;
}

bool hub__hash_agrees(struct hub_hash *hash, const struct hub_file *file)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    if (hash->failed || EVP_DigestFinal_ex(hash->context, raw, &count) != 1) return false;
    for (unsigned i = 0; i < count; i++)
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    return strcmp(hex, file->digest) == 0;
}
