Broken models. Each says what is wrong, in which file, and where; nothing is left under the final name.

  $ mkdir cut && cp fx/models/anvil/* cut && chmod -R u+w cut && head -c 100000 fx/models/anvil/model.safetensors > cut/model.safetensors
  $ ingot inspect cut
  ingot inspect: cannot open model 'cut': 'model.safetensors': truncated: tensor 'model.norm.weight' ends at byte 2629256, the file at byte 100000: download it again
  [1]
  $ ingot quantize cut out --recipe q4; ls -d out* 2>/dev/null
  ingot quantize: cannot open model 'cut': 'model.safetensors': truncated: tensor 'model.norm.weight' ends at byte 2629256, the file at byte 100000: download it again
  [2]
  $ mkdir lying && printf '\377\377\377\377\377\377\377\177{}' > lying/model.safetensors && ingot inspect lying
  ingot inspect: cannot open model 'lying': 'model.safetensors': the header is said to have 9223372036854775807 bytes, the format allows 100000000: not a safetensors file?
  [1]
  $ mkdir overlap && printf '\174\000\000\000\000\000\000\000{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}                    ABCDEFGHIJKL' > overlap/model.safetensors && ingot inspect overlap
  ingot inspect: cannot open model 'overlap': 'model.safetensors': overlap: tensor 'b' begins at data byte 4, tensor 'a' ends at 8
  [1]
  $ printf '\070\000\000\000\000\000\000\000{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}    ABCDEFGH' > shape.safetensors && ingot inspect shape.safetensors
  ingot inspect: cannot open model 'shape.safetensors': 'shape.safetensors': tensor 'a': its shape and dtype F32 make 12 bytes, its data_offsets 8
  [1]
  $ printf '\070\000\000\000\000\000\000\000{"a":{"dtype":"Q32","shape":[2],"data_offsets":[0,8]}}    ABCDEFGH' > dtype.safetensors && ingot inspect dtype.safetensors
  ingot inspect: cannot open model 'dtype.safetensors': 'dtype.safetensors': tensor 'a': unknown dtype 'Q32'
  [1]
  $ mkdir missing && cp fx/models/ballad/* missing && rm -f missing/model-00002-of-00002.safetensors && ingot inspect missing
  ingot inspect: cannot open model 'missing': shard 'model-00002-of-00002.safetensors' named by the index is missing: download it again
  [1]
  $ ingot inspect nowhere
  ingot inspect: cannot open model 'nowhere': no such file or folder
  [1]
  $ mkdir empty && ingot inspect empty
  ingot inspect: cannot open model 'empty': no *.safetensors file in it (.bin, .pt and .gguf are not read)
  [1]
  $ ingot quantize fx/models/anvil out --bits 7
  ingot quantize: affine has no 7 bits (1, 2, 3, 4, 5, 6 and 8)
  'ingot quantize --help' tells more
  [2]
  $ ingot quantize fx/models/anvil out --group-size 48
  ingot quantize: affine has no group size 48 (32, 64 and 128)
  'ingot quantize --help' tells more
  [2]
  $ ingot quantize fx/models/anvil out --recipe qx99
  ingot quantize: no recipe 'qx99': neither a built-in one (see `ingot list recipes`) nor a file; did you mean 'qx86'?
  'ingot quantize --help' tells more
  [2]
  $ cp -r fx/models/anvil mine && ingot quantize mine mine --recipe q4 --force; ls mine | head -n 1; rm -r mine
  ingot quantize: 'mine' is an input or holds one: choose another output
  'ingot quantize --help' tells more
  chat_template.jinja
  $ mkdir there && ingot quantize fx/models/anvil there --recipe q4; ls there
  ingot quantize: 'there' exists: choose another name, or use --force
  'ingot quantize --help' tells more
  $ printf 'name: mine\nmode: affine\nbits: 4\ngroup_size: 64\nrules:\n  - {role: atention, bits: 8}\n' > mine.yaml && ingot quantize fx/models/anvil out --recipe mine.yaml
  ingot quantize: recipe 'mine.yaml': line 6, column 12: unknown role 'atention' (lm_head, embed, attention, mlp, router, norm)
  [1]
  $ printf 'name: mine\nmode: affine\nbits: 4\ngroup_size: 64\nrule: []\n' > mine.yaml && ingot quantize fx/models/anvil out --recipe mine.yaml
  ingot quantize: recipe 'mine.yaml': line 5, column 1: unknown key 'rule' in the recipe; did you mean 'rules'?
  [1]
  $ mkdir notok && echo '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}' > notok/tokenizer.json && ingot tokenize notok -t a
  ingot tokenize: cannot read tokenizer 'notok/tokenizer.json': model.merges[0]: 'b' is not in the vocabulary
  [1]
  $ echo '{"version": "1.0", "model": ' > notok/tokenizer.json && ingot tokenize notok -t a
  ingot tokenize: cannot read tokenizer 'notok/tokenizer.json': JSON, line 2, column 1: premature EOF
  [1]

Talking to models: what cannot work says so.

  $ ingot generate fx/models/anvil --prompt hello --context 8 --raw --max-tokens 4 -q
   up the sail.
  $ ingot generate fx/models/anvil --prompt "one two three four five six seven eight nine ten eleven twelve" --context 8 --raw
  ingot generate: the prompt has 21 tokens, the context is 8
  [1]
  $ mkdir plain && cp fx/models/anvil/* plain && chmod u+w plain/* && rm plain/chat_template.jinja plain/tokenizer_config.json && ingot generate plain -q
  ingot generate: 'plain' has no chat template; --raw takes the prompt as it is
  [1]
  $ printf '{%% for m in messages %%}\n{{ m.content | }}\n{%% endfor %%}' > plain/chat_template.jinja && ingot generate plain
  ingot generate: plain/chat_template.jinja: chat template, line 2, column 16: a name is needed here, but '}}' comes
  [1]
  $ printf '{{ raise_exception("no such role") }}' > plain/chat_template.jinja && ingot generate plain
  ingot generate: chat template, line 1, column 19: no such role
  [1]
  $ printf '{%% for m in messages %%}{{ m.content }}' > t.jinja && ingot render t.jinja --user hi
  ingot render: t.jinja: chat template, line 1, column 4: 'for' is never closed: 'else' or 'endfor' is missing
  [1]
  $ ingot generate fx/models/anvil --temp hot
  ingot generate: --temp: 'hot' is not a finite number
  'ingot generate --help' tells more
  [2]
  $ sed -i 's/"hidden_size": 128/"hidden_size": 129/' plain/config.json && ingot generate plain --raw
  ingot generate: cannot run model 'plain': tensor 'model.embed_tokens.weight' is BF16 2048 x 128; config.json makes it 2048 x 129
  [1]
