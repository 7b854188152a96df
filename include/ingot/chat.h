/* SPDX-License-Identifier: Apache-2.0
 * chat — chat templates: the Jinja of Hugging Face's models, as transformers renders it.
 *
 * Templates are foreign code: depth, steps and output are limited; nothing is read or loaded.
 * Threads: a template is read-only after parsing; renders are independent. */
#pragma once
#include "ingot/json.h"

struct ig_template;

IG_MUST_CHECK bool ig_template_parse(struct ig_slice source, const char *name,
                                     struct ig_template **out, struct ig_err *err);
/* As jinja2 by itself with StrictUndefined and keep_trailing_newline, which is how lm-eval's tasks
 * are rendered: tags eat no white space around them, what is undefined is an error, and the
 * variables are the members and no others. */
IG_MUST_CHECK bool ig_template_parse_strict(struct ig_slice source, const char *name,
                                            struct ig_template **out, struct ig_err *err);
/* The template of a model folder: chat_template.jinja, else tokenizer_config.json's chat_template
 * (a string, or a list: "tool_use" when tools are given, else "default"). PATH may be a .jinja
 * file. */
IG_MUST_CHECK bool ig_template_open(const char *path, bool with_tools, struct ig_template **out,
                                    struct ig_err *err);
void ig_template_close(struct ig_template *tmpl);
/* The template's text, with newlines as \n. Lives as long as the template. */
struct ig_slice ig_template_source(const struct ig_template *tmpl);
/* Whether a folder has a chat template at all. */
bool ig_template_exists(const char *model_dir);

/* Renders with the members of the object `variables` (messages, tools, add_generation_prompt, ...)
 * as transformers' apply_chat_template does. messages, tools, documents and add_generation_prompt
 * exist even when not given; a messages list that is given must not be empty. The special tokens
 * (bos_token and so on) of the folder that the template came from are defined. A true
 * continue_final_message ends the text at the end of the last message, to be gone on with. now:
 * seconds since 1970 for strftime_now, or < 0 for the clock (the environment's INGOT_NOW overrides
 * that). */
IG_MUST_CHECK bool ig_template_render(const struct ig_template *tmpl,
                                      const struct ig_json *variables, int64_t now,
                                      struct ig_buf *out, struct ig_err *err);
