/* SPDX-License-Identifier: Apache-2.0
 * bench_token TOKENIZER TEXT.. — load, encode (in documents of 20,000 bytes, as one would read
 * them) and decode. CPU time of one thread, the fastest of N, so that a busy machine can be used;
 * bench_token.py runs it beside the Python peers. */
#include "base/file.h"
#include "ingot/token.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS         7
#define DOCUMENT_BYTES 20000

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double lesser(double a, double b)
{
    return a < b ? a : b;
}

static bool encode_all(const struct ig_tokenizer *t, struct ig_slice text, struct ig_ids *ids,
                       struct ig_err *err)
{
    while (text.len) {
        size_t len = text.len < DOCUMENT_BYTES ? text.len : DOCUMENT_BYTES;
        while (len < text.len && ((unsigned char)text.ptr[len] & 0xC0) == 0x80)
            len++;
        if (!ig_tokenizer_encode(t, ig_slice_make(text.ptr, len), false, ids, err)) return false;
        text = ig_slice_make(text.ptr + len, text.len - len);
    }
    return true;
}

static bool bench_text(const struct ig_tokenizer *t, const char *path, struct ig_err *err)
{
    struct ig_buf text = {0}, out = {0};
    struct ig_ids ids = {0};
    double encode = 1e9, decode = 1e9;
    bool ok = ig_file_read(path, IG_BUF_BYTES_MAX / 4, &text, err);
    for (int round = 0; ok && round < ROUNDS; round++) {
        ids.count = 0;
        ig_buf_clear(&out);
        double start = cpu_seconds();
        ok = encode_all(t, ig_buf_view(&text), &ids, err);
        double middle = cpu_seconds();
        encode = lesser(encode, middle - start);
        ok = ok && ig_tokenizer_decode(t, ids.items, ids.count, false, &out, err);
        decode = lesser(decode, cpu_seconds() - middle);
    }
    if (ok)
        printf("{\"case\":\"token_text\",\"shape\":\"%s\",\"threads\":1,\"bytes\":%zu,"
               "\"tokens\":%zu,\"encode_ns_min\":%.0f,\"encode_MB/s\":%.1f,\"decode_ns_min\":%.0f,"
               "\"decode_MB/s\":%.0f}\n",
               path, text.len, ids.count, encode * 1e9, 1e-6 * (double)text.len / encode,
               decode * 1e9, 1e-6 * (double)text.len / decode);
    ig_ids_release(&ids);
    ig_buf_release(&text);
    ig_buf_release(&out);
    return ok;
}

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    struct ig_tokenizer *t = NULL;
    double load = 1e9;
    bool ok = argc >= 2;
    if (!ok) fprintf(stderr, "usage: bench_token TOKENIZER TEXT..\n");
    for (int round = 0; ok && round < ROUNDS; round++) {
        ig_tokenizer_close(t);
        t = NULL;
        double start = cpu_seconds();
        ok = ig_tokenizer_open(argv[1], &t, &err);
        load = lesser(load, cpu_seconds() - start);
    }
    if (ok)
        printf("{\"case\":\"token_load\",\"shape\":\"%s\",\"threads\":1,\"ns_min\":%.0f}\n",
               argv[1], load * 1e9);
    for (int i = 2; ok && i < argc; i++)
        ok = bench_text(t, argv[i], &err);
    if (!ok && *err.text) fprintf(stderr, "bench_token: %s\n", err.text);
    ig_tokenizer_close(t);
    return ok ? 0 : 1;
}
