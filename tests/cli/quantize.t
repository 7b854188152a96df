Casting: tables, bytes, and what cannot be.

  $ ingot quantize fx/models/anvil out -r qx86x-hi --dry-run | head -n 14
  model.embed_tokens                                       embed      affine 8 g32       9.000   294.9 kB  embed
  model.layers.0.self_attn.q_proj                          attention  affine 8 g32       9.000    18.4 kB  layer 0
  model.layers.0.self_attn.k_proj                          attention  affine 8 g32       9.000    9.22 kB  layer 0
  model.layers.0.self_attn.v_proj                          attention  affine 8 g32       9.000    9.22 kB  layer 0
  model.layers.0.self_attn.o_proj                          attention  affine 8 g32       9.000    18.4 kB  layer 0
  model.layers.0.self_attn.q_norm.weight                   norm       bfloat16          16.000       64 B  
  model.layers.0.self_attn.k_norm.weight                   norm       bfloat16          16.000       64 B  
  model.layers.0.mlp.gate_proj                             mlp        affine 8 g32       9.000    55.3 kB  layer 0
  model.layers.0.mlp.down_proj                             mlp        affine 8 g32       9.000    55.3 kB  layer 0
  model.layers.0.mlp.up_proj                               mlp        affine 8 g32       9.000    55.3 kB  layer 0
  model.layers.0.input_layernorm.weight                    norm       bfloat16          16.000      256 B  
  model.layers.0.post_attention_layernorm.weight           norm       bfloat16          16.000      256 B  
  model.layers.1.self_attn.q_proj                          attention  affine 6 g32       7.000    14.3 kB  default
  model.layers.1.self_attn.k_proj                          attention  affine 6 g32       7.000    7.17 kB  default
  $ ingot quantize fx/models/anvil out -r qx86x-hi --dry-run | tail -n 1
  qx86x-hi: 1.33 MB, 8.108 bits per weight
  $ ingot list recipes
  qx86-hi              8-bit head and every fourth attention, 6-bit data, groups of 32
  qx86x-hi             8-bit head, embedding, first layer and every fourth attention, 6-bit data, groups of 32
  qx65-hi              6-bit head and every fourth attention, 5-bit data, groups of 32
  qx65x-hi             6-bit head, embedding, first layer and every fourth attention, 5-bit data, groups of 32
  qx64-hi              6-bit head and every fourth attention, 4-bit data, groups of 32
  qx65n-hi             6-bit head and full attention of Qwen3-Next, 5-bit data, groups of 32
  qx86                 8-bit head and every fourth attention, 6-bit data, groups of 64
  qx86x                8-bit head, embedding, first layer and every fourth attention, 6-bit data, groups of 64
  qx65                 6-bit head and every fourth attention, 5-bit data, groups of 64
  qx65x                6-bit head, embedding, first layer and every fourth attention, 5-bit data, groups of 64
  qx64                 6-bit head and every fourth attention, 4-bit data, groups of 64
  q4                   4 bits, groups of 64
  q6                   6 bits, groups of 64
  q8                   8 bits, groups of 64
  mxfp4                4-bit floats, a power of two for each 32
  mxfp8                8-bit floats, a power of two for each 32
  nvfp4                4-bit floats, an 8-bit float for each 16
  $ ingot quantize fx/models/anvil family -r qx86-hi,qx65-hi,mxfp4 2>/dev/null | head -n 3; ls family
  family/qx86-hi: 1.23 MB, 7.484 bits per weight (qx86-hi)
  family/qx65-hi: 1.02 MB, 6.248 bits per weight (qx65-hi)
  family/mxfp4: 699.1 kB, 4.263 bits per weight (mxfp4)
  mxfp4
  qx65-hi
  qx86-hi
  $ ingot quantize fx/models/anvil alone -r mxfp4 --quiet >/dev/null; for f in alone/*; do cmp $f family/mxfp4/${f#alone/}; done
  $ ingot quantize fx/models/anvil metal -r q4 --rounding metal --quiet >/dev/null; ls metal
  README.md
  chat_template.jinja
  config.json
  generation_config.json
  model.safetensors
  model.safetensors.index.json
  tokenizer.json
  tokenizer_config.json
  $ ingot quantize alone again -r q4
  ingot quantize: config.json says that the model is quantised already: dequantize it first
  [1]
  $ ingot dequantize fx/models/anvil again
  ingot dequantize: 'fx/models/anvil' is not quantised: its config.json has no 'quantization'
  'ingot dequantize --help' tells more
  [2]
  $ ingot dequantize alone plain --quiet | head -n 1; ingot inspect plain | head -n 3
  plain: 2.62 MB, 16.000 bits per weight (none)
  plain: qwen3, 47 tensors in 1 file, 1.312 M parameters, 2.62 MB
  $ ingot quantize fx/models/anvil out -r 'q4,q4'
  ingot quantize: two recipes are called 'q4'
  'ingot quantize --help' tells more
  [2]
  $ printf 'name: mine\nbits: 4\nrules:\n  - {name: "*.down_porj", bits: 8}\n' > mine.yaml; ingot quantize fx/models/anvil out -r mine.yaml
  ingot quantize: recipe 'mine', line 4: the rule '*.down_porj' takes no module of this model
  [1]
  $ printf 'name: mine\nbits: 4\nrules:\n  - {layers: {first: 9}, bits: 8}\n' > mine.yaml; ingot quantize fx/models/anvil out -r mine.yaml --dry-run | tail -n 1
  warning: recipe 'mine', line 4: the rule 'layers 9 to -1' takes no module of this model
  mine: 740.1 kB, 4.512 bits per weight
  $ printf 'name: mine\nbits: 4\nrules:\n  - {layers: {first: 1, last: 2}, role: [mlp, attention], keep: true}\n' > mine.yaml; ingot quantize fx/models/anvil out -r mine.yaml --dry-run | sed -n '12,16p'
  model.layers.0.post_attention_layernorm.weight           norm       bfloat16          16.000      256 B  
  model.layers.1.self_attn.q_proj                          attention  bfloat16          16.000    32.8 kB  attention|mlp layers 1 to 2
  model.layers.1.self_attn.k_proj                          attention  bfloat16          16.000    16.4 kB  attention|mlp layers 1 to 2
  model.layers.1.self_attn.v_proj                          attention  bfloat16          16.000    16.4 kB  attention|mlp layers 1 to 2
  model.layers.1.self_attn.o_proj                          attention  bfloat16          16.000    32.8 kB  attention|mlp layers 1 to 2
  $ ingot quantize fx/models/anvil out -r mine.yaml --bits 4
  ingot quantize: --recipe decides mode, bits and group size: leave those out
  'ingot quantize --help' tells more
  [2]
  $ ls -d out out.partial 2>/dev/null
  [2]

A merge that quantises on its way gives what merging and then quantising gives.

  $ printf 'merge_method: linear\nmodels:\n  - {model: fx/models/anvil, parameters: {weight: 1}}\n  - {model: fx/models/ballad, parameters: {weight: 2}}\ndtype: bfloat16\n' > r.yaml
  $ ingot merge r.yaml both --quantize none,qx86x-hi,mxfp4 --quiet > /dev/null; ls both
  mxfp4
  none
  qx86x-hi
  $ ingot quantize both/none after -r qx86x-hi,mxfp4 --quiet > /dev/null
  $ for r in qx86x-hi mxfp4; do for f in model.safetensors model.safetensors.index.json config.json tokenizer.json; do cmp both/$r/$f after/$r/$f; done; done

Peak memory is the program's own, not what whoever started it holds.

  $ python3 -c 'import subprocess as s, json; held = b"x" * (400 << 20); print(json.loads(s.run(["ingot", "quantize", "fx/models/anvil", "peak", "-b", "4", "--json"], capture_output=True).stdout)["peak_bytes"] < 300 << 20)'
  True
