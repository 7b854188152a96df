/* SPDX-License-Identifier: Apache-2.0
 * reference — what a recipe calls a model.
 *
 *     PATH[@REVISION][+LORA[@REVISION]]
 *     {model: PATH | {path, revision}, lora: PATH | {path, revision}}
 *
 * A path is a folder, or ORG/NAME in the Hub's cache; a revision is of the latter. When the whole
 * text is the path of something, that is what it means. override_architecture changes nothing here:
 * names come from the files. */
#include "merge/merge_internal.h"

#include "base/file.h"

static bool fail_unsupported(const struct ig_yaml *at, const char *what, struct ig_err *err)
{
    ig_yaml_fail(err, at, "%s is not supported", what);
    err->code = IG_ERR_UNSUPPORTED;
    return false;
}

/* Text that ends at most once with a mark and something after it. */
static bool split(const struct ig_yaml *at, struct ig_slice text, char mark, struct ig_slice *head,
                  struct ig_slice *tail, struct ig_err *err)
{
    const char *found = memchr(text.ptr, mark, text.len);
    *head = text;
    *tail = (struct ig_slice){0};
    if (!found) return true;
    *head = ig_slice_make(text.ptr, (size_t)(found - text.ptr));
    *tail = ig_slice_make(found + 1, text.len - head->len - 1);
    if (head->len == 0 || tail->len == 0 || memchr(tail->ptr, mark, tail->len))
        return ig_yaml_fail(err, at,
                            "'" IG_SLICE_FMT "' is not PATH[@REVISION][+LORA]; a path with '@' or "
                            "'+' in it is written {model: {path: ...}}",
                            IG_SLICE_ARG(text));
    return true;
}

/* PATH@REVISION: of a folder the revision means nothing, as in mergekit. */
static bool join(struct ig_arena *arena, struct ig_slice path, struct ig_slice revision,
                 const char **out, struct ig_err *err)
{
    struct ig_slice plain = ig_arena_copy(arena, path);
    if (!plain.ptr) return ig_err_nomem(err);
    *out = plain.ptr;
    if (!revision.len || ig_path_exists(plain.ptr)) return true;
    struct ig_slice whole =
        merge__name(arena, "%.*s@%.*s", (int)path.len, path.ptr, (int)revision.len, revision.ptr);
    *out = whole.ptr;
    return whole.ptr || ig_err_nomem(err);
}

static bool read_text(struct ig_arena *arena, const struct ig_yaml *node, struct recipe_model *out,
                      struct ig_err *err)
{
    struct ig_slice base, lora, path, revision;
    if (!merge__need_text(node, "a model", err)) return false;
    if (ig_path_exists(node->text.ptr))
        return join(arena, node->text, (struct ig_slice){0}, &out->folder, err);
    if (!split(node, node->text, '+', &base, &lora, err) ||
        !split(node, base, '@', &path, &revision, err) ||
        !join(arena, path, revision, &out->folder, err))
        return false;
    return !lora.len || (split(node, lora, '@', &path, &revision, err) &&
                         join(arena, path, revision, &out->lora, err));
}

/* PATH or {path, revision}. */
static bool read_part(struct ig_arena *arena, const struct ig_yaml *node, const char **out,
                      struct ig_err *err)
{
    static const char *const keys[] = {"path", "revision", NULL};
    const struct ig_yaml *path = node, *revision = NULL;
    if (node->type == IG_YAML_MAP) {
        if (!merge__check_keys(node, keys, err)) return false;
        path = ig_yaml_get(node, "path");
        revision = ig_yaml_get(node, "revision");
        if (!path) return ig_yaml_fail(err, node, "a model reference needs 'path'");
        if (revision && revision->type == IG_YAML_NULL) revision = NULL;
    }
    if (!merge__need_text(path, "a model", err) ||
        (revision && !merge__need_text(revision, "a revision", err)))
        return false;
    return join(arena, path->text, revision ? revision->text : (struct ig_slice){0}, out, err);
}

static bool read_map(struct ig_arena *arena, const struct ig_yaml *node, struct recipe_model *out,
                     struct ig_err *err)
{
    static const char *const keys[] = {"model", "lora", "override_architecture", NULL};
    if (!merge__check_keys(node, keys, err)) return false;
    const struct ig_yaml *model = ig_yaml_get(node, "model"), *lora = ig_yaml_get(node, "lora");
    const struct ig_yaml *class = ig_yaml_get(node, "override_architecture");
    if (class && class->type != IG_YAML_NULL)
        return fail_unsupported(class, "override_architecture", err);
    if (!model) return ig_yaml_fail(err, node, "a model reference needs 'model'");
    if (!read_part(arena, model, &out->folder, err)) return false;
    return !lora || lora->type == IG_YAML_NULL || read_part(arena, lora, &out->lora, err);
}

bool merge__parse_reference(struct ig_arena *arena, const struct ig_yaml *node,
                            struct recipe_model *out, struct ig_err *err)
{
    *out = (struct recipe_model){.node = node};
    bool ok = node->type == IG_YAML_MAP ? read_map(arena, node, out, err)
                                        : read_text(arena, node, out, err);
    if (!ok) return false;
    out->path =
        merge__name(arena, "%s%s%s", out->folder, out->lora ? "+" : "", out->lora ? out->lora : "");
    return out->path.ptr || ig_err_nomem(err);
}
