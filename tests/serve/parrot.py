# SPDX-License-Identifier: Apache-2.0
"""A model whose weights are chosen, not trained: it goes on as the text has gone on after the same words before. So a reply is known
in advance, and comes by the same way as any other.

Llama's shape, one head, no MLP to speak of. A token's vector is [code of itself, of the one before, .. of 31 before | name | next |
8]; codes and names are signs. Layers 0 to 4 attend, by rotary position alone, to the token 1, 2, 4, 8, 16 places before, and copy
the codes that it has by then behind its own. In layer 5 the last 24 codes are a query that meets, as keys, the 24 codes before each
place: the place that follows the longest equal text wins, and its name goes to `next`, which the head reads."""
import json
import math
import os
import random
import struct

CODE, SEEN, MATCHED, NAME = 16, 32, 24, 32
HIDDEN, HEAD, THETA = 608, 512, 1e15
NAMES, NEXT, CONSTANT = CODE * SEEN, CODE * SEEN + NAME, CODE * SEEN + 2 * NAME
FAST, SLOW = 32, 64  # pairs of a head below FAST tell places apart, those from SLOW on hardly turn


def bf16(values):
    return b"".join(struct.pack("<f", v)[2:] for v in values)


class Matrix:
    def __init__(self, rows, cols):
        self.shape, self.rows = [rows, cols], [{} for _ in range(rows)]

    def bytes(self):
        out = bytearray(2 * self.shape[0] * self.shape[1])
        for r, row in enumerate(self.rows):
            for c, value in row.items():
                at = 2 * (r * self.shape[1] + c)
                out[at:at + 2] = bf16([value])
        return bytes(out)


class Ones:
    def __init__(self, count):
        self.shape = [count]

    def bytes(self):
        return bf16([1.0] * self.shape[0])


def attention(layer):
    q, k, v, o = Matrix(HEAD, HIDDEN), Matrix(HEAD, HIDDEN), Matrix(HEAD, HIDDEN), Matrix(HIDDEN, HEAD)
    if layer < 5:  # the turned query meets the key that is turned by `back` places less
        back = 1 << layer
        root = math.sqrt((64 + NAME + CODE * back) / HIDDEN)  # what the norm has divided by
        for j in range(FAST):
            angle = back * THETA ** (-2 * j / HEAD)
            q.rows[j][CONSTANT] = 3.0
            k.rows[j][CONSTANT] = 3.0 * math.cos(angle)
            k.rows[HEAD // 2 + j][CONSTANT] = 3.0 * math.sin(angle)
        for i in range(CODE * back):
            v.rows[i][i] = 1.0
            o.rows[CODE * back + i][i] = root
    else:  # later tokens weigh a little more
        for n in range(CODE * MATCHED):
            at = SLOW + n if n < HEAD // 2 - SLOW else HEAD // 2 + SLOW + n - (HEAD // 2 - SLOW)
            q.rows[at][n] = 16.0 * (1 - 0.02 * (n // CODE))
            k.rows[at][CODE + n] = 16.0
        for i in range(NAME):
            v.rows[i][NAMES + i] = 1.0
            o.rows[NEXT + i][i] = 1.0
    return {"q_proj": q, "k_proj": k, "v_proj": v, "o_proj": o}


def make(tokenizer_from, out):
    """Writes a model to the folder `out` with the tokenizer and template of another."""
    with open(f"{tokenizer_from}/config.json") as file:
        vocab = json.load(file)["vocab_size"]
    rng = random.Random(1)
    tensors = {"model.embed_tokens.weight": Matrix(vocab, HIDDEN), "lm_head.weight": Matrix(vocab, HIDDEN),
               "model.norm.weight": Ones(HIDDEN)}
    codes = rng.sample(range(1 << CODE), vocab)
    for token in range(vocab):
        name = [rng.choice([-1.0, 1.0]) for _ in range(NAME)]
        tensors["model.embed_tokens.weight"].rows[token] = {
            **{i: 1.0 if codes[token] >> i & 1 else -1.0 for i in range(CODE)}, **{NAMES + i: n for i, n in enumerate(name)}, CONSTANT: 8.0}
        tensors["lm_head.weight"].rows[token] = {NEXT + i: 4 * n for i, n in enumerate(name)}
    for layer in range(6):
        name = f"model.layers.{layer}."
        for part, matrix in attention(layer).items():
            tensors[f"{name}self_attn.{part}.weight"] = matrix
        for part, shape in {"gate": (32, HIDDEN), "up": (32, HIDDEN), "down": (HIDDEN, 32)}.items():
            tensors[f"{name}mlp.{part}_proj.weight"] = Matrix(*shape)
        for norm in ["input_layernorm", "post_attention_layernorm"]:
            tensors[f"{name}{norm}.weight"] = Ones(HIDDEN)
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        blobs.append(tensor.bytes())
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [at, at + len(blobs[-1])]}
        at += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{out}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": 32,
              "num_hidden_layers": 6, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": HEAD, "vocab_size": vocab,
              "rope_theta": THETA, "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "hidden_act": "silu",
              "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    with open(f"{out}/config.json", "w") as file:
        json.dump(config, file)
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"]:
        os.symlink(os.path.realpath(f"{tokenizer_from}/{name}"), f"{out}/{name}")
