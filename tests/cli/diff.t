Two models, tensor by tensor; quantised ones too.

  $ ingot diff fx/models/anvil fx/models/anvil
   relative L2       cosine      max abs  tensor
  47 tensors, 47 equal; root mean square of relative L2 0
  $ ingot quantize fx/models/anvil q8 -q --recipe q8 > log; ingot dequantize q8 plain -q > log
  $ ingot diff q8 plain
   relative L2       cosine      max abs  tensor
  47 tensors, 47 equal; root mean square of relative L2 0
  $ ingot diff fx/models/anvil q8 | sed -n '1,3p;$p'
   relative L2       cosine      max abs  tensor
    0.00823609  0.999966112   0.00244141  model.embed_tokens.weight
    0.00871667  0.999962059   0.00244141  model.layers.0.mlp.down_proj.weight
  47 tensors, 17 equal; root mean square of relative L2 0.00823746
  $ ingot diff fx/models/anvil fx/models/base --json | head -c 180
  {"tensors":[{"name":"model.embed_tokens.weight","relative_l2":0.2617621385770093,"cosine":0.9651485231690571,"max_abs":0.08306884765625,"equal":false},{"name":"model.layers.0.input
  $ ingot diff fx/models/anvil nowhere
  ingot diff: model 'nowhere' does not exist
  [1]

A quantised model merges as what it is when dequantised.

  $ printf 'merge_method: linear\nmodels: [{model: fx/models/lantern}, {model: M}]\nparameters: {weight: 1}\n' > r.yaml
  $ for m in q8 plain; do sed "s/{model: M}/{model: $m}/" r.yaml > $m.yaml; ingot merge $m.yaml of-$m -q > log; done; cmp of-q8/model.safetensors of-plain/model.safetensors

A NaN is no distance of 0, and equal to itself.

  $ python3 - <<'PY'
  > import json, os, struct
  > for name, x in ("one", [1.0, float("nan"), 3.0]), ("two", [1.0, 2.0, 3.5]):
  >     os.mkdir(name)
  >     head = json.dumps({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).encode()
  >     open(name + "/model.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + struct.pack("<3f", *x))
  >     open(name + "/config.json", "w").write("{}")
  > PY
  $ ingot diff one two; ingot diff two one --json; ingot diff one one --json
   relative L2       cosine      max abs  tensor
           nan          nan          nan  w
  1 tensors, 0 equal; root mean square of relative L2 nan
  {"tensors":[{"name":"w","relative_l2":null,"cosine":null,"max_abs":null,"equal":false}],"equal":false}
  {"tensors":[{"name":"w","relative_l2":0.0,"cosine":1.0,"max_abs":0.0,"equal":true}],"equal":true}
