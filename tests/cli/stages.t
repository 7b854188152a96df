A recipe of several documents: named ones are stages of the others.

  $ printf 'merge_method: linear\nmodels: [{model: fx/models/anvil}, {model: fx/models/lantern}]\nparameters: {weight: [0.2, 0.7]}\nout_dtype: float32\n' > one.yaml
  $ printf 'merge_method: slerp\nbase_model: %s\nmodels: [{model: %s}, {model: fx/models/ballad}]\nparameters: {t: 0.4}\nout_dtype: bfloat16\n' first first > two.yaml
  $ (cat two.yaml; echo '---'; echo 'name: first'; cat one.yaml) > multi.yaml
  $ ingot merge multi.yaml both -q > log && ls -d both*
  both
  $ ingot merge one.yaml first -q > log && ingot merge two.yaml want -q > log && cmp both/model.safetensors want/model.safetensors
  $ (cat multi.yaml; echo '---'; echo 'name: second'; sed s/first/second/ two.yaml) > circle.yaml; ingot merge circle.yaml no
  ingot merge: circle.yaml: the documents need each other in a circle
  [1]
  $ (cat multi.yaml; echo '---'; cat two.yaml) > two-outputs.yaml; ingot merge two-outputs.yaml no
  ingot merge: two-outputs.yaml: of several documents all but one have a 'name'; 2 have none: which is the output?
  [1]
  $ (cat multi.yaml; echo '---'; echo 'name: first'; cat one.yaml) > twice.yaml; ingot merge twice.yaml no
  ingot merge: twice.yaml: line 13, column 7: two documents are named 'first'
  [1]
  $ (cat multi.yaml; echo '---'; echo 'name: ../x'; cat one.yaml) > bad.yaml; ingot merge bad.yaml no
  ingot merge: bad.yaml: line 13, column 7: a name has no '/' in it and no '.' before it
  [1]
  $ ingot merge multi.yaml disk --through-disk -q > log && cmp both/model.safetensors disk/model.safetensors && ls -d disk*
  disk
  $ ingot merge multi.yaml no -n -j1 | grep -e stage -e first
  models   first (base)
  stage    first: linear of fx/models/anvil, fx/models/lantern; made as it is read, nothing of it on disk
  $ ingot merge multi.yaml no -n --json | grep -A5 '"stages"'
    "stages": [
      {
        "stage": "first",
        "method": "linear",
        "models": [
          "fx/models/anvil",
  $ (cat multi.yaml; echo 'chat_template: chatml') > changed.yaml; ingot merge changed.yaml no --check
  ingot merge: changed.yaml: --dry-run and --check write nothing, and stage 'first' has to be made on disk: it does more than merge tensors
  [1]
  $ ls -d no*
  ls: cannot access 'no*': No such file or directory
  [2]
