What a finetuned model is beyond its base, as an adapter.

  $ m=fx/models; ingot extract-lora $m/anvil a16 --base $m/base --rank 16 -q
  28 modules of rank up to 16 keep 60.97% of the difference's energy; 19 tensors saved whole, 0 equal to the base; 1.37 MB in a16
  $ ls a16; grep -A 12 target_modules a16/adapter_config.json | tr -d ' \n' | cut -c 1-120
  README.md
  adapter_config.json
  adapter_model.safetensors
  ingot.json
  "target_modules":["down_proj","gate_proj","up_proj","k_proj","o_proj","q_proj","v_proj"],"modules_to_save":["embed_token

The same bytes on one thread and with plain C kernels; and in little memory.

  $ IG_KERNELS=ref ingot extract-lora $m/anvil again --base $m/base --rank 16 -q -j 1 --memory 1M > log; cmp a16/adapter_model.safetensors again/adapter_model.safetensors

Put on the base again, it is the model but for what was not kept; at full rank, but for the rounding of the factors.

  $ on() { rm -rf back; printf "merge_method: passthrough\nmodels: [{model: $m/base+$1}]\n" > r.yaml; ingot merge r.yaml back -q > log && ingot diff back $m/anvil | tail -n 1; }
  $ ingot diff $m/base $m/anvil | tail -n 1
  47 tensors, 0 equal; root mean square of relative L2 0.414365
  $ on a16
  47 tensors, 19 equal; root mean square of relative L2 0.105195
  $ ingot extract-lora $m/anvil full --base $m/base -r 128 --dtype float32 -q; on full
  28 modules of rank up to 128 keep 100.00% of the difference's energy; 19 tensors saved whole, 0 equal to the base; 5.65 MB in full
  47 tensors, 44 equal; root mean square of relative L2 4.39581e-11

One may look first, at a part, and choose the rank by what it keeps.

  $ ingot extract-lora $m/anvil none --base $m/base -r 8 --include 'layers.0.self_attn' --exclude '*_norm' -n --report -q
      rank     kept  relative effective for 90% for 99%  module
         8   48.77%     0.138      52.2      31      54  model.layers.0.self_attn.k_proj
         8   41.44%     0.151      85.2      45      84  model.layers.0.self_attn.o_proj
         8   45.14%     0.133      80.9      40      80  model.layers.0.self_attn.q_proj
         8   46.13%     0.139      53.0      33      55  model.layers.0.self_attn.v_proj
  4 modules of rank up to 8 keep 44.65% of the difference's energy; 0 tensors saved whole, 0 equal to the base; nothing written
  $ ingot extract-lora $m/anvil none --base $m/base -r 8 --include '*.0.mlp.up_proj' -n --json -q | sed 's/"seconds":[^,]*,"peak_bytes":[^,]*,//; s/\(\.[0-9][0-9]\)[0-9]*/\1/g'
  {"output":"none","rank":8,"alpha":8.0,"kept":0.41,"output_bytes":0,"modules":[{"module":"model.layers.0.mlp.up_proj","kind":"lora","relative":0.15,"shape":[384,128],"rank":8,"kept":0.41,"effective_rank":91.11,"rank_90":45,"rank_99":93,"sigma_first":1.06,"sigma_last":0.63}]}
  $ test ! -e none
  $ ingot extract-lora $m/anvil none --base $m/base -r 8 --include 'q_(proj)' -q
  ingot extract-lora: --include takes globs (*, ?) or parts of names, with commas between; 'q_(proj)' is a regular expression: see --include-regex and --exclude-regex
  'ingot extract-lora --help' tells more
  [2]
  $ ingot extract-lora $m/anvil a16 --base $m/base -q
  ingot extract-lora: 'a16' exists already; --force replaces it
  'ingot extract-lora --help' tells more
  [2]
  $ ingot extract-lora $m/anvil b -q
  ingot extract-lora: --base says what it was made of
  'ingot extract-lora --help' tells more
  [2]
  $ ingot extract-lora $m/anvil b --base nowhere -q
  ingot extract-lora: model 'nowhere' does not exist
  [1]
  $ cp -r $m/anvil copy; ingot extract-lora $m/anvil b --base copy -q
  ingot extract-lora: 'fx/models/anvil' and 'copy' are the same: there is nothing to put into an adapter
  [1]
  $ ls -d b*
  back

Regular expressions, as mergekit's; what is chosen can be seen before anything is read.

  $ ingot extract-lora $m/anvil none --base $m/base -r 8 -i '\.[02]\.mlp\.(up|gate)' -i 'layers\.3\..*norm$' -e '2.*gate_proj' --check -q
      rank          shape  module
         8        384x128  model.layers.0.mlp.gate_proj
         8        384x128  model.layers.0.mlp.up_proj
         8        384x128  model.layers.2.mlp.up_proj
     whole          128x1  model.layers.3.input_layernorm
     whole          128x1  model.layers.3.post_attention_layernorm
     whole           32x1  model.layers.3.self_attn.k_norm
     whole           32x1  model.layers.3.self_attn.q_norm
  3 modules of rank up to 8, 4 tensors whole: at most 25.2 kB; nothing is read or written
  $ ingot extract-lora $m/anvil none --base $m/base -r 8 -i '[02]\.mlp\.up' --check --json -q | sed 's/"seconds".*"modules"/"modules"/'
  {"output":"none","rank":8,"alpha":8.0,"output_bytes_max":16384,"modules":[{"module":"model.layers.0.mlp.up_proj","kind":"lora","shape":[384,128],"rank":8},{"module":"model.layers.2.mlp.up_proj","kind":"lora","shape":[384,128],"rank":8}]}
  $ ingot extract-lora $m/anvil none --base $m/base -i '*.mlp' -q
  ingot extract-lora: --include-regex '*.mlp': regex, byte 0: nothing to repeat
  'ingot extract-lora --help' tells more
  [2]
  $ ingot extract-lora $m/anvil none --base $m/base -i 'nothing' -q
  ingot extract-lora: no module is left of 'fx/models/anvil': see --include, --exclude and the like
  'ingot extract-lora --help' tells more
  [2]
  $ ingot extract-lora $m/anvil none --base $m/base --save-module q_prj -q
  ingot extract-lora: --save-module: no module's last name is 'q_prj'
  'ingot extract-lora --help' tells more
  [2]

A run that was killed goes on, with the same bytes.

  $ for i in 1 2 3 4 5 6 7 8; do
  >   rm -rf out out.*
  >   ingot extract-lora $m/anvil out --base $m/base --rank 16 -q -j 1 > log 2>&1 & pid=$!
  >   sleep 0.0$(( i * 3 )); kill -9 $pid 2> log; wait $pid 2> log
  >   ingot extract-lora $m/anvil out --base $m/base --rank 16 -q --resume > log 2>&1 || grep -v 'exists\|tells more' log
  >   cmp a16/adapter_model.safetensors out/adapter_model.safetensors; cmp a16/adapter_config.json out/adapter_config.json; ls -d out.*
  > done 2> err | sort | uniq

What was made by a LoRA shows its rank, and is got back; quantised models are what they are when dequantised.

  $ ingot extract-lora $m/base+full two --base $m/base -r 16 --include '*.2.self_attn.*_proj' --dtype float32 -q > log; ingot extract-lora $m/base+two back2 --base $m/base -r 30 -q --report | grep -v equal
      rank     kept  relative effective for 90% for 99%  module
        30  100.00%         0       0.0       0       0  model.layers.0.self_attn.k_proj
        30  100.00%         0       0.0       0       0  model.layers.0.self_attn.o_proj
        30  100.00%         0       0.0       0       0  model.layers.0.self_attn.q_proj
        30  100.00%         0       0.0       0       0  model.layers.0.self_attn.v_proj
        30  100.00%         0       0.0       0       0  model.layers.1.self_attn.k_proj
        30  100.00%         0       0.0       0       0  model.layers.1.self_attn.o_proj
        30  100.00%         0       0.0       0       0  model.layers.1.self_attn.q_proj
        30  100.00%         0       0.0       0       0  model.layers.1.self_attn.v_proj
        30  100.00%      0.14      15.4      13      16  model.layers.2.self_attn.k_proj
        30  100.00%     0.155      15.2      13      16  model.layers.2.self_attn.o_proj
        30  100.00%     0.149      15.3      13      16  model.layers.2.self_attn.q_proj
        30  100.00%     0.132      15.3      13      16  model.layers.2.self_attn.v_proj
        30  100.00%         0       0.0       0       0  model.layers.3.self_attn.k_proj
        30  100.00%         0       0.0       0       0  model.layers.3.self_attn.o_proj
        30  100.00%         0       0.0       0       0  model.layers.3.self_attn.q_proj
        30  100.00%         0       0.0       0       0  model.layers.3.self_attn.v_proj
  $ ingot quantize $m/anvil q4 -q --recipe qx86-hi > log; ingot extract-lora q4 loss --base $m/anvil -r 8 --include 'layers.1.mlp' -n --report -q
      rank     kept  relative effective for 90% for 99%  module
         8   14.33%    0.0204     121.9      93     122  model.layers.1.mlp.down_proj
         8   15.02%      0.02     121.6      93     123  model.layers.1.mlp.gate_proj
         8   15.33%    0.0201     121.3      92     122  model.layers.1.mlp.up_proj
  3 modules of rank up to 8 keep 15.05% of the difference's energy; 0 tensors saved whole, 0 equal to the base; nothing written
