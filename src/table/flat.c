/* SPDX-License-Identifier: Apache-2.0
 * flat — see flat.h. Source: "FlatBuffer Internals" of google/flatbuffers. Every table has its
 * place in the buffer checked when it is used; tables may share bytes, so whoever walks them bounds
 * depth and count. */
#include "table/flat.h"

static size_t fail(struct flat *f)
{
    f->broken = true;
    return 0;
}

/* The place itself when so many bytes are there, else 0. */
static size_t within(struct flat *f, size_t place, size_t bytes)
{
    if (f->broken || place == 0) return 0;
    if (place > f->bytes.len || bytes > f->bytes.len - place) return fail(f);
    return place;
}

static uint64_t load(const struct flat *f, size_t place, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)f->bytes.ptr[place + i] << 8 * i;
    return value;
}

int64_t flat_load(struct flat *f, size_t place, unsigned bytes)
{
    if (!within(f, place, bytes)) return 0;
    unsigned unused = 64 - 8 * bytes;
    return (int64_t)(load(f, place, bytes) << unused) >> unused;
}

/* The place that the offset standing at `place` leads to. */
static size_t follow(struct flat *f, size_t place)
{
    if (!within(f, place, 4)) return 0;
    size_t offset = (size_t)load(f, place, 4);
    return offset ? within(f, place + offset, 4) : fail(f);
}

size_t flat_root(struct flat *f)
{
    if (f->bytes.len < 8) return fail(f);
    size_t offset = (size_t)load(f, 0, 4);
    return offset ? within(f, offset, 4) : fail(f);
}

/* Where a member of the table stands, or 0. */
static size_t member_at(struct flat *f, size_t table, unsigned member)
{
    if (!within(f, table, 4)) return 0;
    int64_t vtable = (int64_t)table - flat_load(f, table, 4);
    if (vtable < 0 || vtable > (int64_t)f->bytes.len - 4) return fail(f);
    size_t entry = 4 + 2 * (size_t)member, size = (size_t)load(f, (size_t)vtable, 2);
    if (entry + 2 > size) return 0; /* written before the member was thought of */
    if ((size_t)vtable + entry + 2 > f->bytes.len) return fail(f);
    size_t offset = (size_t)load(f, (size_t)vtable + entry, 2);
    return offset ? within(f, table + offset, 1) : 0;
}

int64_t flat_int(struct flat *f, size_t table, unsigned member, unsigned bytes, int64_t absent)
{
    size_t place = member_at(f, table, member);
    return place ? flat_load(f, place, bytes) : absent;
}

size_t flat_table(struct flat *f, size_t table, unsigned member)
{
    return follow(f, member_at(f, table, member));
}

struct flat_vector flat_list(struct flat *f, size_t table, unsigned member, unsigned bytes)
{
    size_t place = flat_table(f, table, member);
    if (!place) return (struct flat_vector){0};
    size_t count = (size_t)load(f, place, 4);
    if (count > (f->bytes.len - place - 4) / bytes) {
        fail(f);
        return (struct flat_vector){0};
    }
    return (struct flat_vector){place + 4, count};
}

struct ig_slice flat_text(struct flat *f, size_t table, unsigned member)
{
    struct flat_vector text = flat_list(f, table, member, 1);
    return text.count ? ig_slice_make(f->bytes.ptr + text.place, text.count) : (struct ig_slice){0};
}

size_t flat_item(struct flat *f, struct flat_vector list, size_t i)
{
    return follow(f, list.place + 4 * i);
}
