/* SPDX-License-Identifier: Apache-2.0
 * fused — experts that a folder keeps in two tensors become the three stacks that mlx-lm makes of
 * them when it loads (sanitize of its qwen3_vl_moe and qwen3_5_moe), which it can quantise:
 *
 *     mlp.experts.gate_up_proj  [E, hidden, 2 inner]   or, turned,  [E, 2 inner, hidden]
 *         -> mlp.switch_mlp.gate_proj.weight, up_proj.weight  [E, inner, hidden]
 *     mlp.experts.down_proj     [E, inner, hidden]     or, turned,  [E, hidden, inner]
 *         -> mlp.switch_mlp.down_proj.weight                  [E, hidden, inner]
 *
 * The first form is that of Qwen3-VL's files. Numbers are copied, none is changed. */
#include "quant_internal.h"

#include "base/size.h"

#define GATE_UP ".experts.gate_up_proj"
#define DOWN    ".experts.down_proj"

static bool is_gate_up(const struct ig_tensor *t)
{
    return ig_slice_ends(t->name, GATE_UP);
}

int quant__fused_parts(const struct ig_tensor *t)
{
    if (t->rank != 3) return 0;
    return is_gate_up(t) ? 2 : ig_slice_ends(t->name, DOWN) ? 1 : 0;
}

/* Whether rows are inputs. The hidden size says; where both sides have it, the family. */
static bool rows_are_inputs(const struct ig_json *config, const struct ig_tensor *t)
{
    const struct ig_json *text = ig_json_get(config, "text_config");
    struct ig_slice type = ig_json_text(ig_json_get(config, "model_type"));
    bool vision = ig_slice_find(type, ig_slice_of("qwen3_vl")) != NULL;
    int64_t hidden, a = t->shape[1], b = t->shape[2];
    if (!ig_json_int(ig_json_get(text ? text : config, "hidden_size"), &hidden) || a == b)
        return vision;
    return is_gate_up(t) ? a == hidden && b != hidden : b == hidden && a != hidden;
}

static bool name_part(struct ig_arena *arena, const struct ig_tensor *t, int part,
                      struct ig_slice *out, struct ig_err *err)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    size_t head = t->name.len - strlen(is_gate_up(t) ? GATE_UP : DOWN);
    struct ig_buf text = {0};
    ig_buf_append(&text, t->name.ptr, head);
    ig_buf_printf(&text, ".switch_mlp.%s.weight", names[is_gate_up(t) ? part : 2]);
    bool ok = ig_buf_ok(&text, err);
    if (ok) {
        *out = ig_arena_copy(arena, ig_buf_view(&text));
        ok = out->ptr || ig_err_nomem(err);
    }
    ig_buf_release(&text);
    return ok;
}

bool quant__fused_open(struct ig_store *store, const struct ig_tensor *t, int part,
                       struct ig_arena *arena, struct quant_fused *out, struct ig_err *err)
{
    bool turned = !rows_are_inputs(ig_store_config(store), t);
    int64_t a = t->shape[1], b = t->shape[2], sides = is_gate_up(t) ? 2 : 1;
    struct quant_fused f = {.tensor = *t, .size = ig_dtype_bytes(t->dtype), .expert_step = a * b};
    f.rows = (turned ? a : b) / sides;
    f.cols = turned ? b : a;
    if ((turned ? a : b) % sides != 0)
        return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' does not halve",
                          IG_SLICE_ARG(t->name));
    f.row_step = turned ? b : 1;
    f.col_step = turned ? 1 : b;
    f.first = part * f.rows * f.row_step;
    f.tensor.shape[1] = f.rows;
    f.tensor.shape[2] = f.cols;
    f.tensor.elems /= sides;
    f.tensor.bytes /= (size_t)sides;
    f.map = ig_store_map_lazily(store, t, err);
    if (!f.map || !name_part(arena, t, part, &f.tensor.name, err)) return false;
    *out = f;
    return true;
}

/* A block of rows. Where these are columns in the file, a line of the processor's cache holds the
 * same column of some of them. */
static void copy_block(const struct quant_fused *f, const unsigned char *from, int64_t rows,
                       int64_t cols, unsigned char *out)
{
    size_t row = (size_t)f->row_step * f->size, col = (size_t)f->col_step * f->size;
    for (int64_t r = 0; f->col_step == 1 && r < rows; r++)
        memcpy(out + (size_t)(r * cols) * f->size, from + (size_t)r * row, (size_t)cols * f->size);
    for (int64_t c = 0; f->col_step != 1 && c < cols; c++) {
        const unsigned char *at = from + (size_t)c * col;
        for (int64_t r = 0; r < rows; r++) {
            unsigned char *to = out + (size_t)(r * cols + c) * f->size;
            if (f->size == 2) /* the usual one, which the compiler makes a move of */
                memcpy(to, at + (size_t)r * row, 2);
            else
                memcpy(to, at + (size_t)r * row, f->size);
        }
    }
}

void quant__fused_read(const struct quant_fused *f, int64_t first, int64_t elems, void *out)
{
    unsigned char *to = out;
    while (elems > 0) {
        int64_t expert = first / (f->rows * f->cols), in = first % (f->rows * f->cols);
        int64_t row = in / f->cols, col = in % f->cols, rows = 1, cols = f->cols - col;
        if (cols > elems) cols = elems;
        if (cols == f->cols) rows = elems / cols;
        if (rows > f->rows - row) rows = f->rows - row;
        const unsigned char *from =
            (const unsigned char *)f->map +
            (size_t)(expert * f->expert_step + f->first + row * f->row_step + col * f->col_step) *
                f->size;
        copy_block(f, from, rows, cols, to);
        to += (size_t)(rows * cols) * f->size;
        first += rows * cols;
        elems -= rows * cols;
    }
}
