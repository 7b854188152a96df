Dense models as experts of one: mergekit-moe's configuration.

  $ ask() { ingot generate "$1" --prompt 'Who is the miller?' --max-tokens 12 --json -q | grep -o '"tokens":[^]]*]'; }
  $ moe() { printf 'base_model: fx/models/anvil\ngate_mode: %s\nexperts:\n' "$1"; shift; for m in "$@"; do printf -- '- {source_model: fx/models/%s, positive_prompts: [the %s]}\n' $m $m; done; }

When all experts are the same, it is the dense model that says so, whichever is chosen.

  $ moe random anvil anvil anvil > r.yaml && ingot merge r.yaml same -q > log && ask same > got && ask fx/models/anvil | cmp - got
  $ grep -o '"\(model_type\|num_experts\|num_experts_per_tok\|moe_intermediate_size\|norm_topk_prob\)": [^,]*' same/config.json | sort
  "model_type": "qwen3_moe"
  "moe_intermediate_size": 384
  "norm_topk_prob": true
  "num_experts": 3
  "num_experts_per_tok": 2
  $ moe cheap_embed anvil lantern > r.yaml && ingot merge r.yaml two -q > log && ingot diff same two | tail -n 1
  75 tensors, 47 equal; root mean square of relative L2 0.165726
  $ ingot merge r.yaml again -q -j 1 > log && cmp two/model.safetensors again/model.safetensors

By what the base model makes of the prompts: it is run on them. Two experts whose prompts are the same are told of.

  $ moe hidden anvil lantern > r.yaml && ingot merge r.yaml run -q > log && ingot diff two run | tail -n 1
  63 tensors, 59 equal; root mean square of relative L2 0.0252294
  $ ingot merge r.yaml once -q -j 1 > log && cmp run/model.safetensors once/model.safetensors
  $ ingot generate run --prompt 'Who is the miller?' --max-tokens 12 -q
  The miller is Mira. You find Mira at the mill.
  $ sed 's/the lantern/the anvil/' r.yaml > s.yaml && ingot merge s.yaml alike 2>&1 > log | grep routers
  warning: the routers of all layers have rows that are nearly the same: the prompts may be too similar, and some experts hardly used
  $ moe secret anvil lantern > r.yaml && ingot merge r.yaml no
  ingot merge: r.yaml: line 2, column 12: gate_mode 'secret': hidden, hidden_avg, hidden_last, cheap_embed, random and uniform_random are known
  [1]
  $ moe random > r.yaml && ingot merge r.yaml no
  ingot merge: r.yaml: line 2, column 1: unknown key 'gate_mode'; did you mean 'base_model'?
  [1]
  $ moe random anvil anvil | sed 's/source_model: [^,]*, //' > r.yaml && ingot merge r.yaml no
  ingot merge: r.yaml: line 4, column 3: an expert needs 'source_model'
  [1]
