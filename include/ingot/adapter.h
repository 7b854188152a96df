/* SPDX-License-Identifier: Apache-2.0
 * adapter — what a finetuned model is beyond its base, as a LoRA that PEFT reads: for each matrix
 * the best product of two thin ones (Eckart, Young), from the singular values of the difference.
 *
 * Use:     ig_adapter_extract -> ig_adapter_rows, ig_adapter_describe -> ig_adapter_close.
 * Writes:  adapter_model.safetensors, adapter_config.json, README.md, ingot.json; OUT gets its name
 *          when it is whole. Until then the factors are in OUT.factors, which a resumed run reads.
 * Memory:  for each thread one matrix, 4 bytes an element, and 8 k^2 bytes, k its smaller side.
 * Numbers: the same bytes whatever the threads and the instruction set. */
#pragma once
#include "ingot/store.h"

struct ig_adapter_texts {
    const char *const *items;
    size_t count;
};

struct ig_adapter_job {
    const char *tuned, *base; /* folders, or names on the Hub; quantised, float8, MODEL+LORA too */
    const char *out;
    int64_t rank;                  /* at most; 0: 128 */
    double alpha;                  /* lora_alpha; 0: the rank. The factors are scaled to match */
    double epsilon;                /* singular values up to it are left out; 0: none */
    const char *include, *exclude; /* patterns of modules, with commas between; or NULL */
    struct ig_adapter_texts include_regex, exclude_regex; /* see pattern.h; beside those */
    const char *save; /* modules to save whole, by their last name; or NULL */
    bool together;    /* all of the singular values in A, none in B */
    bool embed;       /* embeddings and head as LoRA too, not whole */
    bool skip;        /* leave out what is no matrix; else it is saved whole */
    bool has_dtype;
    enum ig_dtype dtype;  /* of the factors; else the weights' */
    int threads;          /* 0: one for each core */
    int64_t memory_bytes; /* 0: 2 GiB; fewer threads work at once when matrices need more */
    bool resume;          /* go on with what an interrupted run left */
    bool force;
    bool dry_run;   /* everything but the writing */
    bool plan_only; /* not even the comparing: rows say what is taken for what, not how it is */
};

enum ig_adapter_kind {
    IG_ADAPTER_LORA,
    IG_ADAPTER_SAVED, /* whole */
    IG_ADAPTER_EQUAL, /* as in the base, as all of that name are: not in the adapter */
    IG_ADAPTER_LEFT,  /* differs, and has no place in an adapter */
};
struct ig_adapter_row {
    struct ig_slice module;
    enum ig_adapter_kind kind;
    int64_t rows, cols, rank; /* rank: of the factors */
    double relative;          /* |W - base| / |base| */
    /* Of a LoRA's difference D: */
    double kept;                    /* |B A|^2 / |D|^2 */
    double effective;               /* exp of the entropy of the singular values over their sum */
    int64_t rank_90, rank_99;       /* that keep as much of |D|^2 */
    double sigma_first, sigma_last; /* largest singular value; smallest that is kept */
};

struct ig_adapter;
IG_MUST_CHECK bool ig_adapter_extract(const struct ig_adapter_job *job,
                                      const struct ig_watch *watch, struct ig_adapter **out,
                                      struct ig_err *err);
const struct ig_adapter_row *ig_adapter_rows(const struct ig_adapter *adapter, int64_t *count);
/* As JSON: {"output", "rank", "alpha", "output_bytes", "seconds", "peak_bytes", "kept", "modules":
 * [..]}. */
IG_MUST_CHECK bool ig_adapter_describe(const struct ig_adapter *adapter, struct ig_buf *out,
                                       struct ig_err *err);
/* Of all differences in LoRA form together: kept / total of |D|^2. */
double ig_adapter_kept(const struct ig_adapter *adapter);
uint64_t ig_adapter_bytes(const struct ig_adapter *adapter);
void ig_adapter_close(struct ig_adapter *adapter);
