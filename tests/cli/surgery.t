Expanding: with the copies' o_proj and down_proj at 0 the model says what it said, to the last bit.

  $ ask() { ingot generate "$1" --prompt 'Who is the miller?' --max-tokens 12 --json -q | grep -o '"\(tokens\|logprobs\)":[^]]*]'; }
  $ ingot expand fx/models/anvil deep -q --copies 5 > log && ask fx/models/anvil > want && ask deep | cmp - want
  $ grep -c '"full_attention"' deep/config.json; grep num_hidden_layers deep/config.json
  8
    "num_hidden_layers": 8,
  $ tail -n 11 deep/README.md | head -n 7
  ## Recipe
  ```yaml
  merge_method: passthrough
  models:
    - model: "fx/models/anvil"
  expand:
    copies: 5

A table of scales, for each copy; in one pass with the quantised form, and the same bytes as two steps.

  $ printf '[{"o_proj": 1},\n\t{"o_proj": 0.5, "down_proj": 0.25}, {"*": 0.9}]' > scales.json
  $ ingot expand fx/models/anvil both -q --copies 3 --scales scales.json --quantize none,q8 > log
  $ ingot quantize both/none q8 -q --recipe q8 > log; cmp both/q8/model.safetensors q8/model.safetensors && cmp both/q8/config.json q8/config.json
  $ grep -o '"tensor":"model.layers.[45].*o_proj.*' both/none/sketchbook.jsonl | cut -c 1-200
  "tensor":"model.layers.4.self_attn.o_proj.weight","shape":[128,128],"role":"attention","layer":4,"copy_of":"model.layers.3.self_attn.o_proj.weight","expand_scale":0.5}
  "tensor":"model.layers.5.self_attn.o_proj.weight","shape":[128,128],"role":"attention","layer":5,"copy_of":"model.layers.3.self_attn.o_proj.weight","expand_scale":0.8999999761581421}
  $ ingot expand fx/models/anvil no -q --copies 4 --scales scales.json
  ingot expand: expand: line 7, column 11: 3 rows for 4 copies (the layer itself is one)
  [1]
  $ ingot expand fx/models/anvil no -q --preset identity --scales scales.json
  ingot expand: --preset and --scales exclude each other
  'ingot expand --help' tells more
  [2]
