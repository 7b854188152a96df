What a merge did, from its sketchbook.

  $ printf 'merge_method: yoyo_fusion\nmodels: [{model: fx/models/anvil}, {model: fx/models/ballad}, {model: fx/models/lantern}]\n' > r.yaml
  $ ingot merge r.yaml fused -q > log
  $ ingot report fused --html page.html | head -n 18
  yoyo_fusion of 3 models, 47 tensors
  
  layers         module     tensors  anvil  ballad  lantern    apart  distance  first  rejected  agreement
  embedding      embed            1  0.341   0.332    0.354    0.077     0.245  0.554     0.000      0.922
  first third    attention        8  0.349   0.306    0.353    0.024     0.142  0.571     0.000      0.908
  first third    mlp              6  0.362   0.292    0.363    0.047     0.193  0.571     0.000      0.897
  first third    norm             8  0.328   0.324    0.348  2.1e-04     0.014  0.602     0.000      0.906
  middle third   attention        4  0.357   0.301    0.352    0.028     0.156  0.572     0.000      0.907
  middle third   mlp              3  0.365   0.292    0.362    0.055     0.210  0.574     0.000      0.897
  middle third   norm             4  0.347   0.332    0.321  2.4e-04     0.015  0.600     0.000      0.906
  last third     attention        4  0.356   0.305    0.349    0.031     0.161  0.567     0.000      0.909
  last third     mlp              3  0.366   0.289    0.366    0.058     0.216  0.575     0.000      0.895
  last third     norm             4  0.344   0.355    0.301  2.5e-04     0.015  0.602     0.000      0.904
  head and norm  lm_head          1  0.424   0.430    0.327    0.434     0.641  0.602     0.000      0.893
  head and norm  norm             1  0.349   0.352    0.299  2.0e-04     0.015  0.699     0.000      0.907
  all                            47  0.351   0.315    0.346    0.033     0.127  0.584     0.000      0.904
  
  farthest from the centre                value  model
  $ grep -c 'class="heat"' page.html; grep -c 'https*:' page.html
  7
  0
  [1]
  $ ingot report fused --json | python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["method"], d["inputs"], d["tensors"], len(d["cells"])); print(all(0.95 < sum(c["shares"]) < 1.25 for c in d["cells"])); print(d["cells"][3]["tensor"], d["cells"][3]["words"])'
  yoyo_fusion ['anvil', 'ballad', 'lantern'] 47 47
  True
  model.layers.0.self_attn.q_proj.weight The inputs are close here. All went in about equally (0.32 to 0.34).
  $ ingot report fused --json > a; ingot report fused/sketchbook.jsonl --json | cmp - a

Methods note different things; what one lacks has no column.

  $ printf 'merge_method: linear\nmodels: [{model: fx/models/anvil, parameters: {weight: 3}}, {model: fx/models/ballad, parameters: {weight: -1}}]\n' > l.yaml
  $ ingot merge l.yaml mean -q > log; ingot report mean | tail -n 13
  head and norm  norm             1  1.500  -0.500
  all                            47  1.500  -0.500
  
  share below 0 or above 1                value  model
  model.embed_tokens.weight               1.500  anvil
  model.layers.0.self_attn.q_proj.weight  1.500  anvil
  model.layers.0.self_attn.k_proj.weight  1.500  anvil
  model.layers.0.self_attn.v_proj.weight  1.500  anvil
  model.layers.0.self_attn.o_proj.weight  1.500  anvil
  model.layers.0.self_attn.q_norm.weight  1.500  anvil
  model.layers.0.self_attn.k_norm.weight  1.500  anvil
  model.layers.0.mlp.gate_proj.weight     1.500  anvil
  and 39 more

What is copied is all of one model.

  $ printf 'merge_method: passthrough\nslices:\n- sources: [{model: fx/models/anvil, layer_range: [0, 3]}]\n- sources: [{model: fx/models/lantern, layer_range: [1, 4]}]\n' > s.yaml
  $ ingot merge s.yaml stack -q > log; ingot report stack | head -n 9
  passthrough of 2 models, 69 tensors: 0 merged, 69 copied
  
  layers         module     tensors  anvil  lantern
  embedding      embed            1  1.000    0.000
  first third    attention        8  1.000    0.000
  first third    mlp              6  1.000    0.000
  first third    norm             8  1.000    0.000
  middle third   attention        8  0.500    0.500
  middle third   mlp              6  0.500    0.500

Names are foreign: on a terminal and in a page they cannot do anything.

  $ mkdir evil; printf '{"ingot":"1","method":"<b>m\\u001b[31m","recipe":"","models":[{"model":"/<script>alert(1)</script>","identity":"1"}],"tensors":1}\n{"tensor":"<img src=x>\\u001b[2J","shape":[1],"role":"mlp","layer":0,"c":[2]}\n' > evil/sketchbook.jsonl
  $ ingot report evil --html evil.html
  <b>m\x1b[31m of 1 model, 1 tensor
  
  layers       module  tensors  script>
  first third  mlp           1    2.000
  all                        1    2.000
  
  share below 0 or above 1  value  model
  <img src=x>\x1b[2J        2.000  script>
  $ grep -c '<script>' evil.html; grep -c '<img' evil.html
  1
  0
  [1]

Broken ones are refused by line.

  $ head -n 9 fused/sketchbook.jsonl > short.jsonl; ingot report short.jsonl
  ingot report: 'short.jsonl' ends after line 9: 8 of 47 tensors are there; was it cut short?
  [1]
  $ sed '5s/"role"/"rule"/' fused/sketchbook.jsonl > rule.jsonl; ingot report rule.jsonl --html none.html
  ingot report: 'rule.jsonl' line 5: 'role' is missing or unknown
  [1]
  $ test -e none.html || echo none
  none
  $ ingot report fx/models/anvil
  ingot report: 'fx/models/anvil' has no sketchbook.jsonl: it is no merge's folder, or one of several outputs' parent, or was made with --no-trace
  [1]
  $ ingot report
  ingot report: OUT is missing
  'ingot report --help' tells more
  [2]
