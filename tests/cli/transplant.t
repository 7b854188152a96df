A model with another one's tokenizer: with the same one it is the same model.

  $ ingot transplant fx/models/anvil fx/models/lantern same -q > log && ingot diff fx/models/anvil same | tail -n 1
  47 tensors, 47 equal; root mean square of relative L2 0

A token that is new gets a row, in embedding and head; all others keep theirs, and the model says what it said.

  $ cp -r fx/models/lantern donor; sed -i 's/<think>/<reflect>/' donor/tokenizer.json donor/tokenizer_config.json
  $ ingot transplant fx/models/anvil donor new -k 8 --dry-run | grep tokens
  tokens   2048 tokens of 'donor': 2047 keep the model's row, 1 get one by omp of 8
  $ ingot transplant fx/models/anvil donor new -k 8 -q > log; ingot diff fx/models/anvil new | tail -n 1
  47 tensors, 45 equal; root mean square of relative L2 0.0147658
  $ ask() { ingot generate "$1" --prompt 'Who is the miller?' --max-tokens 12 --json -q | grep -o '"tokens":[^]]*]'; }
  $ ask new > got; ask fx/models/anvil | cmp - got; cmp new/tokenizer.json donor/tokenizer.json
  $ sed -n '/^## Tok/,/^```$/p' new/README.md
  ## Tokenizer
  2048 tokens of 'donor': 2047 keep the model's row, 1 get one by omp of 8.
  
  ## Recipe
  ```yaml
  merge_method: passthrough
  models:
    - model: "fx/models/anvil"
  transplant:
    donor: "donor"
    approximation: omp
    k: 8
  ```

In one pass with the quantised form, and of a quantised model.

  $ ingot transplant fx/models/anvil donor both -k 8 -q --quantize none,q8 > log; cmp both/none/model.safetensors new/model.safetensors
  $ ingot quantize new q8 -q --recipe q8 > log; cmp both/q8/model.safetensors q8/model.safetensors && cmp both/q8/config.json q8/config.json
  $ ingot quantize fx/models/anvil q8a -q --recipe q8 > log; ingot transplant q8a donor out -a subword -q > log; ingot diff new out | tail -n 1
  47 tensors, 17 equal; root mean square of relative L2 0.0157356

What cannot be.

  $ mkdir bare; cp fx/models/anvil/*.safetensors fx/models/anvil/config.json bare; ingot transplant fx/models/anvil bare no
  ingot transplant: transplant: 'bare' has no tokenizer.json
  [1]
  $ ingot transplant fx/models/anvil donor no -a best
  ingot transplant: --approximation: 'best' is unknown; it may be omp, common_interpolation, subword, mean, zero, randn
  'ingot transplant --help' tells more
  [2]
  $ ingot transplant fx/models/anvil nowhere no
  ingot transplant: model 'nowhere' does not exist
  [1]
  $ ls no
  ls: cannot access 'no': No such file or directory
  [2]
