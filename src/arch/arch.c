/* SPDX-License-Identifier: Apache-2.0
 * arch — the registry, and how a tensor's name is read.
 *
 *     model.layers.7.mlp.experts.3.up_proj.weight
 *     prefix |    layer  part, its # an expert     last component
 *
 * A known family looks the part up in its list. The generic rules know what most families call
 * things; they err towards OTHER, which is never quantised. */
#include "arch/arch_families.h"
#include "arch/arch_internal.h"

#include <limits.h>

#define X(family) extern const struct ig_arch arch__##family;
ARCH_FAMILIES(X)
#undef X

#define X(family) &arch__##family,
static const struct ig_arch *const families[] = {ARCH_FAMILIES(X) NULL};
#undef X

static const char *const role_names[IG_ROLE_COUNT] = {
    [IG_ROLE_OTHER] = "other",         [IG_ROLE_EMBED] = "embed", [IG_ROLE_LM_HEAD] = "lm_head",
    [IG_ROLE_ATTENTION] = "attention", [IG_ROLE_MLP] = "mlp",     [IG_ROLE_ROUTER] = "router",
    [IG_ROLE_NORM] = "norm",
};

const char *ig_role_name(enum ig_role role)
{
    return role_names[role];
}

bool ig_role_find(struct ig_slice name, enum ig_role *out)
{
    for (int i = 0; i < IG_ROLE_COUNT; i++) {
        if (!ig_slice_is(name, role_names[i])) continue;
        *out = (enum ig_role)i;
        return true;
    }
    return false;
}

const struct ig_arch *const *ig_arch_all(void)
{
    return families;
}

const struct ig_arch *ig_arch_find(const struct ig_json *config)
{
    struct ig_slice type = ig_json_text(ig_json_get(config, "model_type"));
    for (int i = 0; families[i]; i++)
        for (int j = 0; families[i]->model_types[j]; j++)
            if (ig_slice_is(type, families[i]->model_types[j])) return families[i];
    return &arch__generic;
}

/* ---- reading a name ---- */

/* Cuts the first component off *rest; false when nothing is left. */
static bool next_component(struct ig_slice *rest, struct ig_slice *out)
{
    if (rest->len == 0) return false;
    const char *dot = memchr(rest->ptr, '.', rest->len);
    size_t n = dot ? (size_t)(dot - rest->ptr) : rest->len;
    *out = (struct ig_slice){rest->ptr, n};
    size_t step = dot ? n + 1 : n;
    *rest = (struct ig_slice){rest->ptr + step, rest->len - step};
    return true;
}

/* A run of digits as a number; -1 when it is none, or larger than any layer or expert count. */
static int digits_of(struct ig_slice text)
{
    int value = 0;
    if (text.len == 0 || text.len > 6) return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return -1;
        value = value * 10 + (text.ptr[i] - '0');
    }
    return value;
}

static bool is_any(struct ig_slice text, const char *const *words)
{
    for (; *words; words++)
        if (ig_slice_is(text, *words)) return true;
    return false;
}

/* What stands before "layers.0", "embed_tokens", ...: wrappers of text models. Longest first. */
static size_t prefix_bytes(struct ig_slice name)
{
    static const char *const prefixes[] = {"model.language_model.",
                                           "language_model.model.",
                                           "language_model.",
                                           "transformer.",
                                           "model.",
                                           NULL};
    for (int i = 0; prefixes[i]; i++)
        if (ig_slice_starts(name, prefixes[i])) return strlen(prefixes[i]);
    return 0;
}

/* Whether text is the pattern, whose '#' stands for a run of digits; the last run into *number. */
static bool pattern_is(const char *pattern, struct ig_slice text, int *number)
{
    size_t i = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (i >= text.len || text.ptr[i++] != *pattern) return false;
            continue;
        }
        size_t start = i;
        while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
            i++;
        *number = digits_of((struct ig_slice){text.ptr + start, i - start});
        if (*number < 0) return false;
    }
    return i == text.len;
}

/* A name in pieces. */
struct parsed {
    struct ig_slice prefix, module, last;
    struct ig_slice part; /* the module within its layer, or within the root */
    struct ig_slice full; /* the same with the last component: for bare parameters (A_log) */
    int layer;
};

static void parse_name(struct ig_slice name, struct parsed *out)
{
    size_t prefix = prefix_bytes(name);
    size_t cut = name.len;
    while (cut > 0 && name.ptr[cut - 1] != '.')
        cut--;
    *out = (struct parsed){.prefix = {name.ptr, prefix}, .layer = -1};
    out->module = (struct ig_slice){name.ptr, cut ? cut - 1 : 0};
    out->last = (struct ig_slice){name.ptr + cut, name.len - cut};
    struct ig_slice rest = {name.ptr + prefix, name.len - prefix}, word;
    static const char *const stacks[] = {"layers", "h", "blocks", NULL};
    struct ig_slice look = rest;
    if (next_component(&look, &word) && is_any(word, stacks) && next_component(&look, &word) &&
        digits_of(word) >= 0) {
        out->layer = digits_of(word);
        rest = look;
    }
    out->full = rest;
    size_t tail = out->last.len + 1;
    out->part = (struct ig_slice){rest.ptr, rest.len >= tail ? rest.len - tail : 0};
}

static const struct ig_arch_part *find_part(const struct ig_arch *arch, const struct parsed *p,
                                            int *index, int *expert)
{
    for (int i = 0; arch->parts[i].module; i++) {
        int number = -1;
        if (!pattern_is(arch->parts[i].module, p->part, &number) &&
            !pattern_is(arch->parts[i].module, p->full, &number))
            continue;
        *index = i;
        *expert = number;
        return &arch->parts[i];
    }
    return NULL;
}

/* ---- what a tensor is for ---- */

static const struct ig_arch_part roots[] = {
    {"embed_tokens", IG_ROLE_EMBED, true},
    {"norm", IG_ROLE_NORM, false},
    {"lm_head", IG_ROLE_LM_HEAD, true},
    {NULL, IG_ROLE_OTHER, false},
};

static bool contains(struct ig_slice text, const char *word)
{
    return ig_slice_find(text, ig_slice_of(word)) != NULL;
}

/* Roles by what most families call things. A matrix is recognised by its module's last word. */
static enum ig_role guess_role(const struct parsed *p)
{
    static const char *const embeds[] = {"embed_tokens", "wte", "word_embeddings", "tok_embeddings",
                                         NULL};
    static const char *const heads[] = {"lm_head", "embed_out", NULL};
    static const char *const routers[] = {"gate", "router", "shared_expert_gate", NULL};
    static const char *const foreign[] = {"visual", "vision", "audio", "projector", NULL};
    struct ig_slice rest = p->part, word = {0}, leaf = {0};
    for (int i = 0; foreign[i]; i++)
        if (contains(p->module, foreign[i])) return IG_ROLE_OTHER;
    while (next_component(&rest, &word))
        leaf = word;
    if (contains(leaf, "norm") || ig_slice_starts(leaf, "ln_")) return IG_ROLE_NORM;
    if (p->layer < 0 && is_any(leaf, embeds)) return IG_ROLE_EMBED;
    if (p->layer < 0 && is_any(leaf, heads)) return IG_ROLE_LM_HEAD;
    if (p->layer < 0 || contains(leaf, "conv")) return IG_ROLE_OTHER;
    if (is_any(leaf, routers)) return IG_ROLE_ROUTER;
    if (contains(p->part, "attn") || contains(p->part, "attention")) return IG_ROLE_ATTENTION;
    if (contains(p->part, "mlp") || contains(p->part, "feed_forward") ||
        contains(p->part, "expert") || contains(p->part, "moe"))
        return IG_ROLE_MLP;
    return IG_ROLE_OTHER;
}

static bool role_is_linear(enum ig_role role)
{
    return role != IG_ROLE_OTHER && role != IG_ROLE_NORM;
}

/* The expert's number in a path that has ".experts.7.", for families without a list. */
static int guess_expert(struct ig_slice part)
{
    struct ig_slice word;
    while (next_component(&part, &word))
        if (ig_slice_is(word, "experts") && next_component(&part, &word)) return digits_of(word);
    return -1;
}

void ig_arch_place(const struct ig_arch *arch, struct ig_slice name, struct ig_place *out)
{
    struct parsed p;
    int index = -1, expert = -1;
    parse_name(name, &p);
    *out = (struct ig_place){.layer = p.layer,
                             .expert = -1,
                             .prefix = p.prefix,
                             .module = p.module,
                             .part = p.part,
                             .known = !arch->parts};
    const struct ig_arch_part *part = NULL;
    for (int i = 0; p.layer < 0 && roots[i].module && !part; i++)
        if (ig_slice_is(p.part, roots[i].module)) part = &roots[i];
    if (p.layer >= 0 && arch->parts) part = find_part(arch, &p, &index, &expert);
    if (part) {
        out->role = part->role;
        out->linear = part->linear;
        out->expert = expert;
        out->known = true;
    } else if (!arch->parts) {
        out->role = guess_role(&p);
        out->linear = role_is_linear(out->role);
        out->expert = guess_expert(p.part);
    }
    out->linear = out->linear && ig_slice_is(p.last, "weight");
}

/* ---- order ---- */

enum zone { ZONE_EMBED, ZONE_LAYER, ZONE_NORM, ZONE_HEAD, ZONE_REST };

/* What is compared, first to last. */
struct sort_key {
    int zone, layer, part, expert, last;
};

/* mlx-lm's quantised modules declare weight, scales, biases; then the layer's own bias. */
static int last_rank(struct ig_slice last)
{
    static const char *const order[] = {"weight", "scales", "biases", "bias"};
    for (int i = 0; i < 4; i++)
        if (ig_slice_is(last, order[i])) return i;
    return 4;
}

static struct sort_key key_of(const struct ig_arch *arch, struct ig_slice name)
{
    struct parsed p;
    struct ig_place place;
    parse_name(name, &p);
    ig_arch_place(arch, name, &place);
    struct sort_key key = {.zone = ZONE_REST,
                           .layer = p.layer,
                           .part = INT_MAX,
                           .expert = -1,
                           .last = last_rank(p.last)};
    if (p.layer >= 0) {
        key.zone = ZONE_LAYER;
        if (arch->parts) find_part(arch, &p, &key.part, &key.expert);
    } else if (place.role == IG_ROLE_EMBED) {
        key.zone = ZONE_EMBED;
    } else if (place.role == IG_ROLE_NORM) {
        key.zone = ZONE_NORM;
    } else if (place.role == IG_ROLE_LM_HEAD) {
        key.zone = ZONE_HEAD;
    }
    return key;
}

/* Byte order, but runs of digits by their value: layer 10 after layer 9. */
static int compare_natural(struct ig_slice a, struct ig_slice b)
{
    struct ig_slice x, y;
    while (a.len && b.len) {
        next_component(&a, &x);
        next_component(&b, &y);
        int m = digits_of(x), n = digits_of(y);
        if ((m >= 0) != (n >= 0)) return m >= 0 ? -1 : 1; /* else 9 < 10 < 1a < 9 */
        if (m >= 0 && n >= 0 && m != n) return m < n ? -1 : 1;
        int order = ig_slice_compare(x, y);
        if (order) return order;
    }
    return (a.len > 0) - (b.len > 0);
}

int ig_arch_compare(const struct ig_arch *arch, struct ig_slice a, struct ig_slice b)
{
    struct sort_key x = key_of(arch, a), y = key_of(arch, b);
    if (x.zone != y.zone) return x.zone < y.zone ? -1 : 1;
    if (x.layer != y.layer) return x.layer < y.layer ? -1 : 1;
    if (x.part != y.part) return x.part < y.part ? -1 : 1;
    if (x.expert != y.expert) return x.expert < y.expert ? -1 : 1;
    struct parsed p, q;
    parse_name(a, &p);
    parse_name(b, &q);
    int order = compare_natural(p.module, q.module);
    if (order) return order;
    if (x.last != y.last) return x.last < y.last ? -1 : 1;
    return ig_slice_compare(p.last, q.last);
}
