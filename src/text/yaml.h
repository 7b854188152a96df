/* SPDX-License-Identifier: Apache-2.0
 * yaml — a YAML document as a tree with places. libyaml parses, so recipes mean what PyYAML says;
 * plain scalars are resolved as YAML 1.1 does (yes/no/on/off are booleans, 1e-5 is a string).
 *
 * Aliases share their anchor's nodes, `<<` merge keys are applied. Owns: the tree lives in the
 * arena. Limits: depth, nodes (aliases counted each time), one document. Duplicate keys are an
 * error. */
#pragma once
#include "ingot/err.h"
#include "ingot/slice.h"
#include <stdint.h>

struct ig_arena;

enum ig_yaml_type {
    IG_YAML_NULL,
    IG_YAML_BOOL,
    IG_YAML_INT,
    IG_YAML_REAL,
    IG_YAML_TEXT,
    IG_YAML_LIST,
    IG_YAML_MAP
};

struct ig_yaml {
    enum ig_yaml_type type;
    int line, column;       /* from 1 */
    struct ig_slice text;   /* of every scalar: as written, NUL-terminated */
    struct ig_slice tag;    /* of a scalar with a tag of its own, as "!function"; else {NULL, 0} */
    bool truth;             /* BOOL */
    int64_t integer;        /* INT */
    double real;            /* REAL, and INT as a double */
    uint32_t count;         /* LIST: items; MAP: pairs */
    struct ig_yaml **items; /* LIST: count; MAP: 2 * count, key then value */
};

IG_MUST_CHECK struct ig_yaml *ig_yaml_parse(struct ig_slice text, struct ig_arena *arena,
                                            struct ig_err *err);
/* Value of a text key in a map, or NULL. */
const struct ig_yaml *ig_yaml_get(const struct ig_yaml *map, const char *key);
/* Sets err to "line L, column C: ..." (code DATA). Always false. The caller adds the file's name.
 */
bool ig_yaml_fail(struct ig_err *err, const struct ig_yaml *at, const char *format, ...)
    IG_PRINTF(3, 4);
/* Whether scalar text reads as a number by Python's float(), as mergekit's validators accept it. */
bool ig_yaml_number(const struct ig_yaml *node, double *out);
