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
