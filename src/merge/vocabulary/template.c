/* SPDX-License-Identifier: Apache-2.0
 * template — chat_template: auto, the name of a usual form, or the template itself.
 *
 * auto: the template that most of the models have, the first of equals. The usual forms are our own
 * writing: chatml gives what mergekit's gives, the others what the families themselves do (mergekit
 * has newlines and spaces too many in them). */
#include "merge/merge_internal.h"

#include "ingot/chat.h"

#define TEMPLATE_BYTES_MIN 20 /* mergekit: shorter text is no template */

struct form {
    const char *name, *text;
};
static const struct form forms[] = {
    {"chatml", "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
               "message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
               "{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    {"llama3",
     "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
     "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
     "message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
     "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    {"alpaca",
     "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + "
     "'\\n\\n' }}{% elif message['role'] == 'user' %}{{ '### Instruction:\\n' + "
     "message['content'] + '\\n\\n' }}{% elif message['role'] == 'assistant' %}{{ '### "
     "Response:\\n' + message['content'] + eos_token }}{% endif %}{% endfor %}{% if "
     "add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"},
    {"mistral",
     "{{ bos_token }}{% set first = messages[0]['role'] == 'system' %}{% for message in "
     "(messages[1:] if first else messages) %}{% if message['role'] == 'assistant' %}{{ ' ' + "
     "message['content'] | trim + eos_token }}{% else %}{{ ' [INST] ' }}{% if loop.first and first "
     "%}{{ messages[0]['content'] | trim + '\\n\\n' }}{% endif %}{{ message['content'] | trim + "
     "' [/INST]' }}{% endif %}{% endfor %}"},
    {"exaone", "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
               "{{ '[|system|][|endofturn|]\\n' }}{% endif %}{{ '[|' + message['role'] + '|]' + "
               "message['content'] }}{% if message['role'] == 'user' %}{{ '\\n' }}{% else %}"
               "{{ '[|endofturn|]\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
               "{{ '[|assistant|]' }}{% endif %}"},
    {NULL, NULL},
};

bool merge__read_template(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(root, "chat_template");
    if (!node || node->type == IG_YAML_NULL) return true;
    if (!merge__need_text(node, "chat_template", err)) return false;
    r->chat_at = node;
    r->chat = node->text;
    if (ig_slice_is(node->text, "auto")) return true;
    for (int i = 0; forms[i].name; i++)
        if (ig_slice_is(node->text, forms[i].name)) {
            r->chat = ig_slice_of(forms[i].text);
            return true;
        }
    if (node->text.len < TEMPLATE_BYTES_MIN || !memchr(node->text.ptr, '{', node->text.len))
        return ig_yaml_fail(err, node,
                            "chat_template is auto, alpaca, chatml, exaone, llama3, mistral, or a "
                            "Jinja template");
    struct ig_template *parsed;
    struct ig_err why = {0};
    if (!ig_template_parse(node->text, "chat_template", &parsed, &why))
        return ig_yaml_fail(err, node, "%s", why.text);
    ig_template_close(parsed);
    return true;
}

static struct ig_slice trimmed(struct ig_slice text)
{
    while (text.len && strchr(" \t\r\n", text.ptr[text.len - 1]))
        text.len--;
    while (text.len && strchr(" \t\r\n", text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    return text;
}

/* The most usual template of the models; ptr NULL: none has one. */
static bool most_common(const struct ig_merge *m, struct ig_arena *arena, struct ig_slice *out,
                        struct ig_err *err)
{
    struct ig_slice texts[MERGE_MODELS_MAX];
    int votes[MERGE_MODELS_MAX], count = 0, best = 0;
    *out = (struct ig_slice){0};
    for (int i = 0; i < m->recipe->count; i++) {
        struct ig_template *tmpl;
        const char *folder = ig_store_path(m->stores[i]);
        if (!ig_template_exists(folder)) continue;
        if (!ig_template_open(folder, false, &tmpl, err)) return false;
        struct ig_slice text = ig_arena_copy(arena, trimmed(ig_template_source(tmpl)));
        ig_template_close(tmpl);
        if (!text.ptr) return ig_err_nomem(err);
        int at = 0;
        while (at < count && !ig_slice_equal(texts[at], text))
            at++;
        if (at == count) votes[count++] = 0;
        texts[at] = text;
        if (++votes[at] > best) {
            best = votes[at];
            *out = text;
        }
    }
    return true;
}

bool merge__apply_template(struct ig_merge *m, const struct ig_watch *watch, struct ig_err *err)
{
    struct ig_slice text = m->recipe->chat;
    if (!text.ptr) return true;
    if (ig_slice_is(text, "auto")) {
        if (!most_common(m, &m->arena, &text, err)) return false;
        if (!text.ptr) {
            ig_watch_warn(watch, "chat_template: auto: none of the models has a template");
            return true;
        }
    }
    return merge__keep_file(m, "chat_template.jinja", text, err);
}
