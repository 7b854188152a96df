/* SPDX-License-Identifier: Apache-2.0
 * codec — the layouts' facts, and the way through a tensor block by block: widen to f32, find each
 * group's scale, code, pack. All rules are mlx's CPU rules; docs/formats/mlx.md says them in words
 * and the golden files, made by mlx itself, hold them.
 *
 * T below is the source's type: mlx computes the fp modes in T and rounds to it at every step.
 * Where a rounding cannot change the result it is left out here, and the comment says why. */
#include "tensor/codecs/codec_internal.h"

#include "base/check.h"

/* ---- facts ---- */

static const char *const mode_names[IG_QUANT_MODE_COUNT] = {"affine", "mxfp4", "mxfp8", "nvfp4"};
static const struct ig_codec mode_defaults[IG_QUANT_MODE_COUNT] = {
    {IG_AFFINE, 4, 64}, {IG_MXFP4, 4, 32}, {IG_MXFP8, 8, 32}, {IG_NVFP4, 4, 16}};

const char *ig_quant_mode_name(enum ig_quant_mode mode)
{
    IG_ASSERT((unsigned)mode < IG_QUANT_MODE_COUNT);
    return mode_names[mode];
}

bool ig_quant_mode_find(struct ig_slice name, enum ig_quant_mode *out)
{
    for (int i = 0; i < IG_QUANT_MODE_COUNT; i++) {
        if (!ig_slice_is(name, mode_names[i])) continue;
        *out = (enum ig_quant_mode)i;
        return true;
    }
    return false;
}

void ig_codec_default(struct ig_codec *codec)
{
    if (codec->bits == 0) codec->bits = mode_defaults[codec->mode].bits;
    if (codec->group_size == 0) codec->group_size = mode_defaults[codec->mode].group_size;
}

bool ig_codec_check(struct ig_codec codec, struct ig_err *err)
{
    const struct ig_codec fixed = mode_defaults[codec.mode];
    if (codec.mode == IG_AFFINE) {
        if (codec.bits < 1 || codec.bits > 8 || codec.bits == 7)
            return ig_err_set(err, IG_ERR_USAGE, "affine has no %d bits (1, 2, 3, 4, 5, 6 and 8)",
                              codec.bits);
        if (codec.group_size != 32 && codec.group_size != 64 && codec.group_size != 128)
            return ig_err_set(err, IG_ERR_USAGE, "affine has no group size %d (32, 64 and 128)",
                              codec.group_size);
        return true;
    }
    if (codec.bits == fixed.bits && codec.group_size == fixed.group_size) return true;
    return ig_err_set(err, IG_ERR_USAGE, "%s has %d bits in groups of %d, not %d in groups of %d",
                      mode_names[codec.mode], fixed.bits, fixed.group_size, codec.bits,
                      codec.group_size);
}

enum ig_dtype ig_codec_scale_dtype(struct ig_codec codec, enum ig_dtype dtype)
{
    return codec.mode == IG_AFFINE ? dtype : IG_U8;
}

struct ig_packed_bytes ig_codec_bytes(struct ig_codec codec, enum ig_dtype dtype, int64_t elems)
{
    size_t groups = (size_t)elems / (size_t)codec.group_size;
    size_t scales = groups * ig_dtype_bytes(ig_codec_scale_dtype(codec, dtype));
    return (struct ig_packed_bytes){.weight = (size_t)elems / 8 * (size_t)codec.bits,
                                    .scales = scales,
                                    .biases = codec.mode == IG_AFFINE ? scales : 0};
}

bool ig_codec_takes(enum ig_dtype dtype)
{
    return dtype == IG_F32 || dtype == IG_F16 || dtype == IG_BF16;
}

void ig_coder_init(struct ig_coder *coder, struct ig_codec codec, enum ig_dtype dtype,
                   enum ig_rounding rounding, enum ig_isa isa)
{
    IG_ASSERT(ig_codec_takes(dtype));
    *coder = (struct ig_coder){.codec = codec, .dtype = dtype, .rounding = rounding};
    IG_OPS_FILL(convert, &coder->convert, isa);
    IG_OPS_FILL(quantize, &coder->ops, isa);
}

/* ---- rounding to T ---- */

static float round_to(enum ig_dtype dtype, float value)
{
    if (dtype == IG_BF16) return ig_bf16_value(ig_bf16_bits(value));
    if (dtype == IG_F16) return ig_f16_value(ig_f16_bits(value));
    return value;
}

/* Rounds all in place. */
static void round_all(const struct ig_coder *c, float *values, int64_t count)
{
    uint16_t small[CODEC_GROUPS_MAX];
    if (c->dtype == IG_F32) return;
    ig_convert_from_f32(&c->convert, c->dtype, values, small, count);
    ig_convert_to_f32(&c->convert, c->dtype, small, values, count);
}

/* Stores values as type T, NaN as mlx's own: bf16 drops the sign, f16's is 0x7D00. */
static void store_scales(const struct ig_coder *c, const float *values, int64_t count, char *out)
{
    bool nan = false;
    ig_convert_from_f32(&c->convert, c->dtype, values, out, count);
    if (c->dtype == IG_F32) return;
    for (int64_t i = 0; i < count; i++)
        nan |= values[i] != values[i];
    for (int64_t i = 0; nan && i < count; i++) {
        if (!isnan(values[i])) continue;
        uint16_t sign = (uint16_t)(ig_f32_bits(values[i]) >> 16 & 0x8000u);
        ig_store_u16(out + 2 * i, c->dtype == IG_BF16 ? 0x7FC0 : (uint16_t)(sign | 0x7D00u));
    }
}

/* ---- affine ---- */

/* One bit: no zero alignment, 0 is the low end and 1 the high end. Among zeros mlx's minimum is the
 * group's first one, whose sign is stored. */
static void grid_of_one_bit(struct codec_block *b, int group)
{
    for (int64_t g = 0; g < b->groups; g++) {
        float s = b->hi[g] - b->lo[g];
        b->scale[g] = s < 1e-7f ? 1e-7f : s;
        b->bias[g] = b->lo[g];
        const float *x = b->x + g * group;
        for (int i = 0; b->lo[g] == 0 && i < group; i++) {
            if (x[i] != 0) continue;
            b->bias[g] = x[i];
            break;
        }
    }
}

/* A scale that is NaN comes of infinities: inf - inf and inf / inf, whose sign each architecture
 * chooses. x86's, where mlx's bytes come from, is minus; a group of one infinity gets -s, a plus.
 */
static void sign_bad_scales(struct codec_block *b, int bits)
{
    for (int64_t g = 0; g < b->groups; g++)
        if (isnan(b->scale[g])) b->scale[g] = b->lo[g] == b->hi[g] && bits != 1 ? NAN : -NAN;
}

static void encode_affine(const struct ig_coder *c, struct codec_block *b)
{
    int group = c->codec.group_size;
    float levels = (float)((1 << c->codec.bits) - 1);
    if (b->range_group != group) c->ops.range(b->x, b->groups, group, b->lo, b->hi);
    b->range_group = group;
    if (c->codec.bits == 1)
        grid_of_one_bit(b, group);
    else
        c->ops.grid(b->lo, b->hi, b->groups, levels, b->scale, b->bias);
    sign_bad_scales(b, c->codec.bits);
    c->ops.codes(b->x, b->groups, group, b->scale, b->bias, levels, b->codes);
}

/* ---- mxfp4, mxfp8: a power of two for each group, rounded up ---- */

static const float *largest_of(const struct ig_coder *c, struct codec_block *b)
{
    int group = c->codec.group_size;
    if (b->largest_group != group) c->ops.largest(b->x, b->groups, group, b->largest);
    b->largest_group = group;
    return b->largest;
}

/* mlx: k = rint(T(log2 s)), and one more when T(2^k) < s. Whatever the logarithm's rounding, that
 * is the ceiling of log2 s: rint gives floor or ceiling, powers of two give an exact logarithm, and
 * the second step lifts the floor. In bits: the exponent, and one more when there is a mantissa.
 * Zero, subnormals, infinity and NaN are told by the result. */
static bool powers_above(const float *s, int64_t count, float *scale, uint8_t *exponent)
{
    uint32_t odd = 0;
    for (int64_t g = 0; g < count; g++) {
        uint32_t bits = ig_f32_bits(s[g]), above = (bits >> 23) + ((bits & 0x7FFFFFu) != 0);
        odd |= bits - 0x800000u >= 0x7F000000u;
        exponent[g] = (uint8_t)above;
        scale[g] = ig_f32_of_bits(above << 23);
    }
    return odd == 0;
}

/* The same for one number of any kind, below 2^-126 by subnormal powers: the byte wraps, as mlx's.
 */
static void power_above(enum ig_dtype dtype, float s, float *scale, uint8_t *exponent)
{
    int k = 0;
    bool finite = isfinite(s);
    if (s != 0 && finite && frexpf(s, &k) == 0.5f) k--;
    *scale = finite ? ldexpf(1, k) : 0;
    *exponent = (uint8_t)(finite ? k + 127 : dtype == IG_F32 ? 128 : 0);
}

/* A largest value that is NaN or inf: mlx casts the exponent to INT_MIN, so 2^k is 0, and all that
 * is finite is divided by it. fp4 takes infinity and NaN as code 0, which the kernel does; of fp8
 * the sign is kept, and of 0 / 0 it is set on x86, where mlx's bytes come from (bf16 NaNs have
 * none). */
static void recode_bad_group(const struct ig_coder *c, struct codec_block *b, int64_t g)
{
    int group = c->codec.group_size;
    for (int64_t i = g * group; i < (g + 1) * group; i++) {
        bool negative = signbit(b->x[i]);
        if (b->x[i] == 0) negative = true;
        if ((b->x[i] == 0 || isnan(b->x[i])) && c->dtype == IG_BF16) negative = false;
        b->codes[i] = negative ? 0xFE : 0x7E;
    }
}

static void encode_mx(const struct ig_coder *c, struct codec_block *b)
{
    int group = c->codec.group_size;
    float most = c->codec.bits == 4 ? 6 : 448;
    const float *amax = largest_of(c, b);
    float s[CODEC_GROUPS_MAX];
    for (int64_t g = 0; g < b->groups; g++)
        s[g] = amax[g] / most;
    round_all(c, s, b->groups);
    bool plain = powers_above(s, b->groups, b->scale, b->exponent);
    for (int64_t g = 0; !plain && g < b->groups; g++)
        power_above(c->dtype, s[g], &b->scale[g], &b->exponent[g]);
    /* x / 2^k is exact in T but where it is far below the smallest code. */
    if (c->codec.bits == 4) {
        c->ops.fp4(b->x, b->groups, group, b->scale, 0, b->codes);
        return;
    }
    c->ops.fp8(b->x, b->groups, group, b->scale, b->codes);
    for (int64_t g = 0; !plain && g < b->groups; g++)
        if (b->scale[g] == 0) recode_bad_group(c, b, g);
}

/* ---- nvfp4: an e4m3 scale for each 16 ---- */

static const float fp4_values[16] = {0,    0.5f,  1,  1.5f,  2,  3,  4,  6,
                                     -0.f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
/* From here on f32 cannot tell |v - 4| from |v - 6|, and mlx takes the first of equals. */
#define FP4_FAR 0x1p24f

/* mlx's words: the first of the 16 values that is nearest to v, differences rounded to f32. */
static void recode_far_group(const struct ig_coder *c, struct codec_block *b, int64_t g)
{
    for (int64_t i = g * 16; i < (g + 1) * 16; i++) {
        float v = round_to(c->dtype, b->x[i] / b->scale[g]);
        float nearest = INFINITY;
        b->codes[i] = 0;
        for (int code = 0; code < 16; code++) {
            float distance = fabsf(v - fp4_values[code]);
            if (!(distance < nearest)) continue;
            nearest = distance;
            b->codes[i] = (uint8_t)code;
        }
    }
}

static void encode_nvfp4(const struct ig_coder *c, struct codec_block *b)
{
    const float *amax = largest_of(c, b);
    float s[CODEC_GROUPS_MAX];
    for (int64_t g = 0; g < b->groups; g++)
        s[g] = amax[g] / 6;
    round_all(c, s, b->groups);
    for (int64_t g = 0; g < b->groups; g++) {
        b->exponent[g] = ig_f8_e4m3_saturated(s[g]);
        b->scale[g] = ig_f8_e4m3_value(b->exponent[g]); /* exact in T */
    }
    uint32_t slack = c->dtype == IG_BF16 ? 0x8000 : c->dtype == IG_F16 ? 0x1000 : 0;
    c->ops.fp4(b->x, b->groups, 16, b->scale, slack, b->codes);
    for (int64_t g = 0; g < b->groups; g++) /* the scale ends at 448: x may be far above it */
        if (!(amax[g] < FP4_FAR)) recode_far_group(c, b, g);
}

/* ---- encode ---- */

static void encode_block(const struct ig_coder *c, struct codec_block *b)
{
    b->groups = b->elems / c->codec.group_size;
    if (c->rounding == IG_ROUND_METAL)
        codec__encode_metal(c, b);
    else if (c->codec.mode == IG_AFFINE)
        encode_affine(c, b);
    else if (c->codec.mode == IG_NVFP4)
        encode_nvfp4(c, b);
    else
        encode_mx(c, b);
}

/* Stores what encode_block left as elements `first` and on of a run. */
static void store_block(const struct ig_encoding *e, const struct codec_block *b, int64_t first)
{
    const struct ig_coder *c = e->coder;
    struct ig_packed_bytes at = ig_codec_bytes(c->codec, c->dtype, first);
    char *scales = (char *)e->out.scales + at.scales;
    c->ops.pack(b->codes, b->elems, c->codec.bits, (uint8_t *)e->out.weight + at.weight);
    if (c->codec.mode != IG_AFFINE) {
        memcpy(scales, b->exponent, (size_t)b->groups);
        return;
    }
    store_scales(c, b->scale, b->groups, scales);
    store_scales(c, b->bias, b->groups, (char *)e->out.biases + at.biases);
}

void ig_encode_many(const struct ig_encoding *encodings, int count, const void *src, int64_t elems)
{
    struct codec_block block;
    const char *in = src;
    for (int i = 0; i < count; i++) {
        IG_ASSERT(encodings[i].coder->dtype == encodings[0].coder->dtype);
        IG_ASSERT(elems % encodings[i].coder->codec.group_size == 0 && elems % 16 == 0);
    }
    const struct ig_coder *any = encodings[0].coder;
    for (int64_t first = 0; first < elems; first += block.elems) {
        block.elems = elems - first < CODEC_BLOCK ? elems - first : CODEC_BLOCK;
        block.range_group = block.largest_group = 0;
        ig_convert_to_f32(&any->convert, any->dtype, in, block.x, block.elems);
        for (int i = 0; i < count; i++) {
            encode_block(encodings[i].coder, &block);
            store_block(&encodings[i], &block, first);
        }
        in += (size_t)block.elems * ig_dtype_bytes(any->dtype);
    }
}

void ig_encode(const struct ig_coder *coder, const void *src, int64_t elems,
               const struct ig_packed *out)
{
    ig_encode_many(&(struct ig_encoding){coder, *out}, 1, src, elems);
}

/* ---- decode ---- */

/* codes as numbers: the integer of affine, the value of the fp modes. */
static void unpack_values(struct ig_codec codec, const uint8_t *in, int64_t count, float *out)
{
    float values[256];
    int bits = codec.bits;
    for (int i = 0; i < 1 << bits; i++)
        values[i] = codec.mode == IG_AFFINE ? (float)i
                    : bits == 4             ? fp4_values[i]
                                            : ig_f8_e4m3_value((uint8_t)i);
    for (int64_t i = 0; i < count; i += 8, in += bits) {
        uint64_t word = 0;
        for (int j = 0; j < bits; j++)
            word |= (uint64_t)in[j] << (8 * j);
        for (int j = 0; j < 8; j++)
            out[i + j] = values[word >> (j * bits) & ((1u << bits) - 1)];
    }
}

static float scale_value(const struct ig_coder *c, const void *scales, int64_t index)
{
    if (c->codec.mode == IG_AFFINE) {
        float value;
        ig_convert_to_f32(&c->convert, c->dtype,
                          (const char *)scales + (size_t)index * ig_dtype_bytes(c->dtype), &value,
                          1);
        return value;
    }
    uint8_t byte = ((const uint8_t *)scales)[index];
    float value = c->codec.mode == IG_NVFP4 ? ig_f8_e4m3_value(byte) : ldexpf(1, byte - 127);
    return round_to(c->dtype, value); /* f16 cannot hold all powers of two */
}

void ig_decode(const struct ig_coder *coder, const struct ig_packed *in, int64_t elems, void *out)
{
    float x[CODEC_BLOCK];
    int group = coder->codec.group_size;
    char *to = out;
    const uint8_t *weight = in->weight;
    bool affine = coder->codec.mode == IG_AFFINE;
    IG_ASSERT(elems % group == 0);
    for (int64_t first = 0, count; first < elems; first += count) {
        count = elems - first < CODEC_BLOCK ? elems - first : CODEC_BLOCK;
        size_t bytes = (size_t)count * ig_dtype_bytes(coder->dtype);
        unpack_values(coder->codec, weight + first / 8 * coder->codec.bits, count, x);
        for (int64_t g = 0; g < count / group; g++) {
            float s = scale_value(coder, in->scales, first / group + g);
            for (int i = 0; i < group; i++)
                x[g * group + i] *= s;
        }
        ig_convert_from_f32(&coder->convert, coder->dtype, x, to, count);
        if (affine) { /* the product was rounded to T; so is the sum */
            ig_convert_to_f32(&coder->convert, coder->dtype, to, x, count);
            for (int64_t g = 0; g < count / group; g++) {
                float b = scale_value(coder, in->biases, first / group + g);
                for (int i = 0; i < group; i++)
                    x[g * group + i] += b;
            }
            ig_convert_from_f32(&coder->convert, coder->dtype, x, to, count);
        }
        to += bytes;
    }
}
