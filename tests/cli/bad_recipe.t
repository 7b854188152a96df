Broken recipes: line and column, and what to do.

  $ recipe() { printf '%b' "$1" > r.yaml; ingot merge r.yaml out; }
  $ models='models:\n  - model: fx/models/anvil\n  - model: fx/models/lantern\n'
  $ recipe "merge_method: yoyo\n$models"
  ingot merge: r.yaml: line 1, column 15: unknown merge_method 'yoyo'; there are: linear, slerp, nuslerp, multislerp, karcher, model_stock, sce, nearswap, arcee_fusion, passthrough, yoyo_fusion, yoyo_scale, task_arithmetic, ties, dare_linear, dare_ties, breadcrumbs, breadcrumbs_ties, della, della_linear, ram, ramplus_tl
  [1]
  $ recipe "merge_method: linear\nmodel:\n  - model: a\n"
  ingot merge: r.yaml: line 2, column 1: unknown key 'model'; did you mean 'models'?
  [1]
  $ recipe "merge_method: linear\n$models  - model: fx/models/nowhere\nparameters: {weight: 1}\n"
  ingot merge: r.yaml: line 5, column 12: model 'fx/models/nowhere' does not exist
  [1]
  $ recipe "merge_method: yoyo_fusion\n${models}parameters:\n  centre: anchor\n"
  ingot merge: r.yaml: line 6, column 3: yoyo_fusion has no parameter 'centre'; did you mean 'center'?; it has: center, variant, truncate, median, keep_rank, keep_energy, drop_directions, min_agreement, z_start, sign_align, matrix_boost, eps, nonfinite
  [1]
  $ recipe "merge_method: yoyo_fusion\n${models}parameters:\n  center: middle\n"
  ingot merge: r.yaml: line 6, column 11: center: 'middle' is unknown; it may be auto, geometric_median, coordinate_median, anchor
  [1]
  $ recipe "merge_method: yoyo_fusion\n${models}parameters:\n  keep_energy:\n    - {filter: nothing_like_this, value: 0.9}\n"
  ingot merge: r.yaml: line 7, column 16: filter 'nothing_like_this' matches no tensor
  [1]
  $ recipe "merge_method: linear\n${models}parameters: {weight: 1}\nout_dtype: bf16\n"
  ingot merge: r.yaml: line 6, column 12: out_dtype: 'bf16' is no known type; it may be float32, bfloat16, float16 or float64
  [1]
  $ recipe "merge_method: linear\n${models}"
  ingot merge: r.yaml: linear needs the parameter 'weight' of model 'fx/models/anvil' for tensor 'model.embed_tokens.weight'
  [1]
  $ recipe "merge_method: linear\n${models}parameters: {weight: [0.1\n"
  ingot merge: r.yaml: line 6, column 1: did not find expected ',' or ']'
  [1]
  $ recipe "merge_method: slerp\n${models}parameters: {t: 0.5}\n"
  ingot merge: r.yaml: line 1, column 1: merge_method slerp needs a base_model
  [1]
  $ recipe "merge_method: linear\nslices: []\n"
  ingot merge: r.yaml: line 2, column 9: slices must be a list of at least one slice
  [1]
  $ pass='merge_method: passthrough\nslices:\n'
  $ recipe "$pass  - sources: [{model: fx/models/anvil, layer_range: [1, 9]}]\n"
  ingot merge: r.yaml: line 3, column 53: layer_range [1, 9]: model 'fx/models/anvil' has 4 layers
  [1]
  $ recipe "$pass  - sources: [{model: fx/models/anvil, layer_range: [1, 1]}]\n"
  ingot merge: r.yaml: line 3, column 53: layer_range [1, 1] has no layer in it
  [1]
  $ recipe "$pass  - sources: [{model: fx/models/anvil}]\n"
  ingot merge: r.yaml: line 3, column 15: a source needs layer_range: [first, end]
  [1]
  $ recipe "$pass  - sources: [{model: fx/models/anvil, layer_range: [0, 1]}, {model: fx/models/lantern, layer_range: [0, 1]}]\n"
  ingot merge: r.yaml: line 3, column 14: passthrough takes exactly 1 model; there are 2
  [1]
  $ recipe "merge_method: slerp\nbase_model: fx/models/base\nslices:\n  - sources: [{model: fx/models/anvil, layer_range: [0, 2]}, {model: fx/models/lantern, layer_range: [0, 1]}]\n"
  ingot merge: r.yaml: line 4, column 102: 1 layers beside 2 of the first source
  [1]
  $ recipe "merge_method: slerp\nbase_model: fx/models/base\nslices:\n  - sources: [{model: fx/models/anvil, layer_range: [0, 1]}, {model: fx/models/lantern, layer_range: [0, 1]}]\n"
  ingot merge: r.yaml: line 4, column 14: the base_model 'fx/models/base' must be a source
  [1]
  $ recipe "merge_method: linear\nmodules:\n  vision_tower: {models: []}\n"
  ingot merge: r.yaml: line 3, column 3: module 'vision_tower': only 'default', the whole model, is supported
  [1]
  $ recipe "${pass}models: []\n"
  ingot merge: r.yaml: line 2, column 8: a recipe has one of models, slices and modules
  [1]
  $ recipe "merge_method: linear\n${models}parameters: {weight: 1}\ntokenizer: {tokens: {a: {source: b}}}\n"
  ingot merge: r.yaml: line 6, column 34: this is none of the recipe's models
  [1]
  $ recipe "merge_method: linear\nmodels:\n  - model: fx/models/anvil\n  - model: fx/models/anvil\nparameters: {weight: 1}\n"
  ingot merge: r.yaml: line 4, column 12: model 'fx/models/anvil' is listed twice
  [1]
  $ recipe "merge_method: linear\n${models}parameters: {weight: 0}\n"
  ingot merge: r.yaml: tensor 'model.embed_tokens.weight': the weights sum to 0: nothing to divide by (normalize: false sums without)
  [1]
  $ recipe ""
  ingot merge: r.yaml: the file is empty
  [1]
  $ recipe "\t- x\n"
  ingot merge: r.yaml: line 1, column 1: found character that cannot start any token
  [1]
  $ ls -d out* 2>/dev/null
  [2]

An output folder that exists is not touched.

  $ mkdir out && echo mine > out/file && recipe "merge_method: linear\n${models}parameters: {weight: 1}\n"; cat out/file
  ingot merge: 'out' exists: choose another name, or use --force
  'ingot merge --help' tells more
  mine

Inputs that do not fit together: shapes that differ, a NaN, a tensor that one lacks.

  $ rm -r out; other() { python3 - "$1" <<'PY'
  > import json, shutil, struct, sys
  > what = sys.argv[1]
  > shutil.copytree("fx/models/anvil", "other", dirs_exist_ok=True)
  > data = open("fx/models/anvil/model.safetensors", "rb").read()
  > size = struct.unpack("<Q", data[:8])[0]
  > header, body = json.loads(data[8:8 + size]), bytearray(data[8 + size:])
  > name = "model.layers.1.mlp.up_proj.weight"
  > first = header[name]["data_offsets"][0]
  > if what == "nan": body[first + 20:first + 22] = b"\xc0\x7f"
  > if what == "shape": header[name]["shape"] = header[name]["shape"][::-1]
  > if what == "name": header["model.other.weight"] = header.pop(name)
  > text = json.dumps(header).encode()
  > open("other/model.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + body)
  > PY
  > }
  $ two='models:\n  - model: fx/models/lantern\n  - model: other\n'
  $ other shape && recipe "merge_method: yoyo_fusion\n$two"
  ingot merge: the models differ in 1 tensors (copy_missing_from: MODEL would copy them): 'model.layers.1.mlp.up_proj.weight': 'fx/models/lantern' has [384, 128], 'other' has [128, 384]
  [1]
  $ other name && recipe "merge_method: yoyo_fusion\n$two"
  ingot merge: the models differ in 2 tensors (copy_missing_from: MODEL would copy them): 'model.layers.1.mlp.up_proj.weight': not in 'other'; 'model.other.weight': not in 'fx/models/lantern'
  [1]
  $ other nan && recipe "merge_method: yoyo_fusion\n$two"; ls -d out* 2>/dev/null
  ingot merge: tensor 'model.layers.1.mlp.up_proj.weight': model 'other' has 1 values that are NaN or infinite (nonfinite: zero takes them for 0)
  out.partial
  $ rm -r out.partial; recipe "merge_method: linear\n${two}parameters: {weight: 1, nonfinite: zero}\n" | grep -c tensors
  1

What editors and tools put before a recipe changes nothing: a byte order mark, a directive, a border.

  $ rm -rf out; plain="merge_method: linear\n${models}parameters: {weight: 1}\n"; recipe "$plain" > log; mv out want
  $ for head in '\357\273\277' '\357\273\277---\n' '%%YAML 1.1\n---\n' '# mine\n---\n'; do printf "$head$plain" > r.yaml; ingot merge r.yaml out -q > log; cmp out/model.safetensors want/model.safetensors; rm -r out; done
