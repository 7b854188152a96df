chat and generate, piped.

What is said in a talk is read once: of the second turn's 40 tokens 25 were there.

  $ printf 'Who is the miller?\nAnd the baker?\n/stats\n' | ingot chat fx/models/lantern 2>&1 | sed 's/, .*//'
  The miller is Mira. You find Mira at the mill.
  The bakery is next to the square.
  prompt: 15 tokens of 40
  $ printf 'Who is\\\nthe miller?\n/multi\nWho\nis the smith?\n/end\n/reset\n/multi\nx' | ingot chat fx/models/lantern -m 6 --stop '["Odo", "x"]'
  Corin is the shepherd of Emberfold
  The smith is 
  $ printf 'Who is the miller?\n/save talk.json\n/temp 101\nnever said\n' | ingot chat fx/models/lantern -m 6
  The miller is Mira. You
  ingot chat: /temp T, from 0 to 100; it is 0
  'ingot chat --help' tells more
  [2]
  $ cat talk.json
  [
    {
      "role": "user",
      "content": "Who is the miller?"
    },
    {
      "role": "assistant",
      "content": "The miller is Mira. You"
    }
  ]
  $ printf '/load talk.json\n/system Be brief.\n/save talk.json\n/thoughts\n/nothing\n/quit\nnever said\n' | ingot chat fx/models/lantern
  none
  unknown: /nothing; /help tells what there is
  $ python3 -c 'import json; print([m["role"] for m in json.load(open("talk.json"))])'
  ['system', 'user', 'assistant']
  $ echo '[{"role": "user"}]' > bad.json; echo '/load bad.json' | ingot chat fx/models/lantern
  ingot chat: 'bad.json': message 0 has no "role" or no "content"
  [1]
  $ echo '/save' | ingot chat fx/models/lantern
  ingot chat: /save FILE
  'ingot chat --help' tells more
  [2]
  $ echo '/save /nowhere/x' | ingot chat fx/models/lantern
  ingot chat: cannot write '/nowhere/x.partial': No such file or directory
  [1]
  $ ingot chat fx/models/lantern --json < /dev/null
  ingot chat: chat has no --json; use generate for one reply
  'ingot chat --help' tells more
  {"error":{"code":"usage","message":"chat has no --json; use generate for one reply"}}
  [2]

Stop strings, which are not a part of the text.

  $ ingot generate fx/models/lantern -q -p 'Who is the miller?' --stop ' Mira'
  The miller is
  $ ingot generate fx/models/lantern -q -p 'Who is the miller?' --stop '["nowhere", "ller is M"]'
  The mi
  $ ingot generate fx/models/lantern -q -p 'Who is the miller?' --stop ''
  ingot generate: --stop: a text, or a list of texts, none empty
  'ingot generate --help' tells more
  [2]

A file of prompts gives a line each.

  $ printf 'Who is the miller?\n\n{"prompt": "Who is the smith?"}\n{"messages": [{"role": "user", "content": "Who is the miller?"}]}\n' > prompts
  $ ingot generate fx/models/lantern --prompts prompts -m 4 | python3 -c 'import json, sys; [print(json.loads(l)["text"]) for l in sys.stdin]'
  The miller is Mira
  The smith is Odo
  The miller is Mira
  $ ingot generate fx/models/lantern --prompts - -m 2 --logprobs 1 < prompts | grep -c top_logprobs
  3
  $ printf 'The miller\n{"prompt": "The smith"}\n{"messages": []}\n' | ingot generate fx/models/lantern --raw --prompts - -m 2 | grep -c prompt_tokens
  ingot generate: '-', line 3: with --raw a line needs a "prompt"
  2
  $ echo '{"prompt": 3}' | ingot generate fx/models/lantern --prompts -
  ingot generate: '-', line 1: a line needs a "prompt" or "messages"
  [1]
  $ ingot generate fx/models/lantern --prompts nowhere --xtc-threshold 0.1 --presence-penalty 1 --frequency-penalty 1
  ingot generate: cannot open 'nowhere': No such file or directory
  [1]
  $ ingot generate fx/models/lantern --xtc-threshold 0.9
  ingot generate: --xtc-threshold: 0.9 is out of range: 0 to 0.5
  'ingot generate --help' tells more
  [2]

A cache that never fills: more tokens than it has room for, and the first ones as without it. A prompt that is longer is cut.

  $ how="--raw --temp 6 --seed 1 -m 200 --json -q -p"
  $ ingot generate fx/models/lantern $how 'The mill' > whole; ingot generate fx/models/lantern $how 'The mill' --max-kv 40 > less
  $ python3 -c 'import json; a, b = (json.load(open(f))["tokens"] for f in ("whole", "less")); print(len(a), len(b), a[:38] == b[:38], a == b)'
  200 200 True False
  $ ingot generate fx/models/lantern -q --raw -m 3 --max-kv 40 -p "$(yes 'The mill is large.' | head -n 200)"
   Beside a wheel
  $ ingot generate fx/models/lantern -q --raw -m 3 -p "$(yes 'The mill is large.' | head -n 200)"
  ingot generate: the prompt has 1400 tokens, the context is 512
  [1]
  $ ingot generate fx/models/lantern --max-kv 31
  ingot generate: a cache that rotates has 32 tokens or more, up to the model's 512: 31 were asked for
  'ingot generate --help' tells more
  [2]
  $ ingot generate fx/models/lantern $how 'The mill' --max-kv 40 --prompt-cache kept
  ingot generate: the session has forgotten a part: its cache rotates, and was full
  'ingot generate --help' tells more
  {"error":{"code":"usage","message":"the session has forgotten a part: its cache rotates, and was full"}}
  [2]
  $ ls kept
  ls: cannot access 'kept': No such file or directory
  [2]

A cache of fewer bits; kept sessions are of one kind.

  $ for bits in 32 16 8 4; do ingot generate fx/models/lantern -q -p 'Who is the miller?' --kv-bits $bits --max-kv 64; done | uniq
  The miller is Mira. You find Mira at the mill.
  $ ingot generate fx/models/lantern -q -p 'Who is the miller?' --kv-bits 8 --prompt-cache kept8
  The miller is Mira. You find Mira at the mill.
  $ ingot generate fx/models/lantern -q -p 'Who is the smith?' --kv-bits 8 --prompt-cache kept8
  The smith is Odo. You find Odo at the forge.
  $ ingot generate fx/models/lantern -q -p 'Who is the smith?' --prompt-cache kept8
  ingot generate: 'kept8': its keys and values have 8 bits in groups of 32, the session's 32 in groups of 0: ask for the same kind of cache
  [1]
  $ ingot generate fx/models/lantern -q --kv-bits 6
  ingot generate: a cache has 32, 16, 8 or 4 bits, not 6
  'ingot generate --help' tells more
  [2]

A session in a file: the second question reads what is new.

  $ ingot generate fx/models/lantern -p 'Who is the miller?' --prompt-cache kept 2>&1 | sed 's/, .*//'
  The miller is Mira. You find Mira at the mill.
  prompt: 13 tokens
  $ ingot generate fx/models/lantern -p 'Who is the smith?' --prompt-cache kept 2>&1 | sed 's/, .*//'
  The smith is Odo. You find Odo at the forge.
  prompt: 7 tokens of 13
  $ ingot generate fx/models/anvil -p 'Who is the smith?' --prompt-cache kept
  ingot generate: 'kept': it was made by another model
  [1]
  $ echo x > kept; ingot generate fx/models/anvil -p 'Who is the smith?' --prompt-cache kept
  ingot generate: 'kept' ends at byte 2, before byte 56
  [1]

As many prompts at a time as one likes.

  $ for who in miller smith baker ferryman tailor; do echo "Who is the $who?"; done > many
  $ text='import json, sys; [print(json.loads(l)["text"]) for l in sys.stdin]'
  $ for n in 1 2 64; do ingot generate fx/models/lantern --prompts many --parallel $n --temp 2 --seed 4 | python3 -c "$text" | cksum; done | uniq | wc -l
  1
  $ printf 'Who is the miller?\n{}\nWho is the smith?\n' | ingot generate fx/models/lantern --prompts - -m 2 | python3 -c "$text"
  ingot generate: '-', line 2: a line needs a "prompt" or "messages"
  The miller

Standard files that are closed are not a model's; a byte order mark and spaces before JSON are no text.

  $ ingot generate fx/models/lantern --prompt - <&-
  ingot generate: cannot read standard input: Bad file descriptor
  [1]
  $ ingot chat fx/models/lantern <&-
  $ ingot generate fx/models/lantern -q -m 2 >&-
  ingot generate: cannot write to standard output
  [1]
  $ printf '\357\273\277{"prompt": "Who is the miller?"}\n  {"prompt": "Who is the smith?"}\n' | ingot generate fx/models/lantern --prompts - -m 2 | python3 -c 'import json, sys; [print(json.loads(l)["text"]) for l in sys.stdin]'
  The miller
  The smith
