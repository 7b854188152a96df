/* SPDX-License-Identifier: Apache-2.0
 * inspect — what is in a model folder or a safetensors file. */
#include "cli.h"
#include "ingot/quant.h"

struct args {
    struct cli_common common;
    const char *path;
    bool tensors;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, path, "MODEL|FILE", "a model folder or a .safetensors file"),
    IG_OPT_FLAG(struct args, tensors, "tensors", 't', "every tensor, one a line"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

struct totals {
    int64_t parameters;
    uint64_t weight_bytes; /* of quantised modules, scales and biases included */
    int64_t quantized;     /* modules */
};

/* Elements as the model counts them: a packed word holds 32 / bits of them, scales are no
 * parameters. */
static int64_t parameters_of(const struct ig_tensor *tensor, struct ig_codec codec, bool is_scale)
{
    if (is_scale) return 0;
    return codec.bits ? tensor->elems * 32 / codec.bits : tensor->elems;
}

static const char *mode_name(enum ig_quant_mode mode)
{
    static const char *const names[] = {"affine", "mxfp4", "mxfp8", "nvfp4"};
    return names[mode];
}

static void shape_text(const struct ig_tensor *tensor, char out[128])
{
    size_t len = 0;
    out[0] = '\0';
    for (int i = 0; i < tensor->rank && len < 110; i++)
        len += (size_t)snprintf(out + len, 128 - len, "%s%lld", i ? " x " : "",
                                (long long)tensor->shape[i]);
}

static void put_tensor(struct ig_json_writer *w, const struct ig_store *store,
                       const struct ig_tensor *tensor, struct ig_codec codec)
{
    ig_json_open(w, '{');
    ig_json_key(w, "name");
    ig_json_put_text(w, tensor->name);
    ig_json_add_text(w, "dtype", ig_dtype_name(tensor->dtype));
    ig_json_key(w, "shape");
    ig_json_open(w, '[');
    for (int i = 0; i < tensor->rank; i++)
        ig_json_put_int(w, tensor->shape[i]);
    ig_json_close(w, ']');
    ig_json_add_text(w, "file", ig_store_file(store, tensor->file));
    if (codec.bits) {
        ig_json_add_int(w, "bits", codec.bits);
        ig_json_add_int(w, "group_size", codec.group_size);
        ig_json_add_text(w, "mode", mode_name(codec.mode));
    }
    ig_json_close(w, '}');
}

static void print_tensor(const struct ig_tensor *tensor, struct ig_codec codec)
{
    char shape[128], size[32], packed[40] = "";
    shape_text(tensor, shape);
    if (codec.bits)
        snprintf(packed, sizeof packed, "  %s %d bits, group %d", mode_name(codec.mode), codec.bits,
                 codec.group_size);
    printf("  %-52.*s %-8s %-20s %9s%s\n", (int)tensor->name.len, tensor->name.ptr,
           ig_dtype_name(tensor->dtype), shape, cli_bytes(tensor->bytes, size), packed);
}

static bool each_tensor(const struct args *args, const struct ig_store *store,
                        struct ig_json_writer *w, struct totals *totals, struct ig_err *err)
{
    for (int64_t i = 0; i < ig_store_count(store); i++) {
        const struct ig_tensor *tensor = ig_store_at(store, i);
        struct ig_codec codec;
        bool is_scale;
        if (!ig_quant_stored(store, tensor, &codec, &is_scale, err)) return false;
        totals->parameters += parameters_of(tensor, codec, is_scale);
        totals->quantized += codec.bits != 0;
        if (codec.bits || is_scale) totals->weight_bytes += tensor->bytes;
        if (args->common.json)
            put_tensor(w, store, tensor, codec);
        else if (args->tensors)
            print_tensor(tensor, codec);
    }
    return true;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    struct ig_store *store = NULL;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    struct totals totals = {0};
    if (!ig_store_open(args->path, &store, err)) return false;
    const struct ig_arch *arch = ig_arch_find(ig_store_config(store));
    ig_json_open(&w, '{');
    ig_json_key(&w, "tensors");
    ig_json_open(&w, '[');
    bool ok = each_tensor(args, store, &w, &totals, err);
    ig_json_close(&w, ']');
    ig_json_key(&w, "architecture");
    ig_json_put_text(&w, ig_slice_of(arch->name));
    ig_json_key(&w, "runs");
    ig_json_put_bool(&w, arch->runs);
    ig_json_key(&w, "parameters");
    ig_json_put_int(&w, totals.parameters);
    ig_json_key(&w, "bytes");
    ig_json_put_int(&w, (int64_t)ig_store_bytes(store));
    ig_json_close(&w, '}');
    if (ok && args->common.json) {
        ok = cli_print_json(&text, err);
    } else if (ok) {
        char size[32];
        printf("%s: %s%s, %lld tensors in %d file%s, %.3f M parameters, %s", args->path, arch->name,
               arch->runs ? "" : " (does not run)", (long long)ig_store_count(store),
               ig_store_file_count(store), ig_store_file_count(store) == 1 ? "" : "s",
               (double)totals.parameters / 1e6, cli_bytes(ig_store_bytes(store), size));
        if (totals.quantized)
            printf(", %lld modules quantised, %.3f bits per weight", (long long)totals.quantized,
                   8.0 * (double)ig_store_bytes(store) / (double)totals.parameters);
        putchar('\n');
    }
    ig_buf_release(&text);
    ig_store_close(store);
    return ok;
}

const struct cli_command cli_inspect = {
    "inspect",
    "show what is in a model folder or a safetensors file",
    "ingot inspect MODEL --tensors",
    options,
    sizeof(struct args),
    run,
};
