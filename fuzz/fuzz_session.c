/* SPDX-License-Identifier: Apache-2.0
 * fuzz_session — any bytes as a session's file: refused, and the session is empty; or taken, and no
 * longer than its context. Tried as they are, and with the head and the digest that they would
 * need. */
#include "base/check.h"
#include "base/digest.h"
#include "fuzz_target.h"
#include "ingot/infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONTEXT = 16, BYTES_MAX = 1 << 16 };
enum { MODEL_END = 24, FORM = 48 }; /* of the head: what names the model; what numbers are */
static struct ig_session *session;
static char saved[56]; /* the head of a file of this model */

static void load(const void *bytes, size_t size)
{
    struct ig_err err = {0};
    int32_t tokens[CONTEXT];
    char path[32];
    int fd = memfd_create("session", 0);
    IG_ASSERT(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool ok = ig_session_load(session, path, tokens, &err);
    IG_ASSERT(ok ? ig_session_length(session) <= CONTEXT : ig_session_length(session) == 0);
    close(fd);
}

static void prepare(void)
{
    struct ig_err err = {0};
    struct ig_model *model;
    char dir[4096], path[] = "/tmp/ingot-fuzz-XXXXXX";
    const char *tests = getenv("INGOT_TESTS");
    const int32_t tokens[] = {1, 2, 3};
    snprintf(dir, sizeof dir, "%s/golden/infer/plain", tests ? tests : "tests");
    bool ok = ig_model_open(dir, 1, &model, &err) &&
              ig_session_new(model, CONTEXT, &session, &err) &&
              ig_session_feed(session, tokens, 3, &err);
    int fd = mkstemp(path);
    ok = ok && fd >= 0 && ig_session_save(session, tokens, path, &err);
    FILE *file = fopen(path, "rb");
    IG_ASSERT(ok && file && fread(saved, 1, sizeof saved, file) == sizeof saved);
    fclose(file);
    close(fd);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char bytes[BYTES_MAX];
    if (!session) prepare();
    load(data, size);
    if (size < sizeof saved + 16 || size > BYTES_MAX) return 0;
    memcpy(bytes, data, size);
    memcpy(bytes, saved, MODEL_END); /* and its own sizes */
    memcpy(bytes + FORM, saved + FORM, sizeof saved - FORM);
    struct ig_digest digest = ig_digest_of(bytes, size - 16);
    memcpy(bytes + size - 16, &digest, sizeof digest);
    load(bytes, size);
    return 0;
}
