Scores, files and a log to go on from; what cannot be scored is said.

  $ cp -r fixtures/models/base plain && rm plain/chat_template.jinja
  $ sed -i 's/"chat_template"/"none"/' plain/tokenizer_config.json
  $ ingot eval plain --tasks mini --limit 2 --chat-template
  ingot eval: 'plain' has no chat template: leave out --chat-template, or add a chat_template.jinja to the folder
  'ingot eval --help' tells more
  [2]
  $ ingot eval plain --tasks piqa,winogrand --limit 2
  ingot eval: unknown task 'winogrand'; did you mean 'winogrande'?
  'ingot eval --help' tells more
  [2]
  $ ingot eval plain --kl-to fixtures/models/anvil
  ingot eval: --kl-to needs --perplexity TEXT
  'ingot eval --help' tells more
  [2]
  $ ingot eval plain --perplexity fixtures/README.md --output out
  ingot eval: --perplexity is of a text alone: without --output, --until-clear, --data and --chat-template
  'ingot eval --help' tells more
  [2]
  $ echo "Tin melts at 232 degrees." > short.txt
  $ ingot eval plain --perplexity short.txt 2>&1 | sed 's/has [0-9]* tokens/has N tokens/'
  ingot eval: 'short.txt' has N tokens, less than one window of 512: take a longer text, or a smaller --context

A row that is broken, and one without a label:

  $ mkdir rows && printf '{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}\n{"goal": \n' > rows/piqa.jsonl
  $ ingot eval plain --tasks piqa --data rows 2>&1 | head -1 | cut -c 1-38
  ingot eval: 'rows/piqa.jsonl', line 2:
  $ printf '{"goal": "g", "sol1": "a", "sol2": "b", "label": -1}\n' > rows/piqa.jsonl
  $ ingot eval plain --tasks piqa --data rows
  ingot eval: 'rows/piqa.jsonl', line 1: 'label' is '-1', not 0 to 1: an unlabelled split?
  [1]

A file that is one JSON array; a question, and an answer, longer than the model's context of 512 tokens:

  $ printf '[{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}]\n' > rows/piqa.jsonl
  $ ingot eval plain --tasks piqa --data rows
  ingot eval: 'rows/piqa.jsonl', line 1: a JSON array, where each row is an object on a line of its own (jq -c '.[]' makes them of one)
  [1]
  $ words=$(yes tin | head -n 600 | tr '\n' ' ')
  $ printf '{"goal": "%s", "sol1": "a", "sol2": "b", "label": 0}\n' "$words" > rows/piqa.jsonl
  $ ingot eval plain --tasks piqa --data rows 2>&1 | head -n 2
  warning: piqa: 1 of 1 items are longer than the context of 512 tokens; they are cut on the left
  plain
  $ printf '{"goal": "g", "sol1": "%s", "sol2": "b", "label": 0}\n' "$words" > rows/piqa.jsonl
  $ ingot eval plain --tasks piqa --data rows
  ingot eval: 'rows/piqa.jsonl', line 1: a choice has 601 tokens, more than the model's context of 512
  [1]

Rows that were not pulled: the embedded ones are scored, and that is said.

  $ HF_HUB_CACHE=none ingot eval plain --tasks "piqa, boolq" --limit 2 2>&1 > /dev/null
  warning: not all of these tasks' rows are in the Hub's cache: the embedded mini-tasks are scored; `ingot pull --tasks 'piqa, boolq'` gets the real ones

The same command again finds its log; the files it writes are the same but for times.

  $ ingot eval plain --tasks piqa,boolq --limit 8 --output out --quiet > first
  $ cp out/plain/samples_piqa_*.jsonl piqa.first && rm out/plain/samples_* out/plain/results_*
  $ ingot eval plain --tasks piqa,boolq --limit 8 --output out --quiet | diff first -
  $ diff piqa.first out/plain/samples_piqa_*.jsonl
  $ wc -l < out/plain/items.log
  17
  $ flock out/plain/items.log ingot eval plain --tasks piqa --limit 8 --output out --quiet
  ingot eval: another process is writing 'out/plain/items.log': wait for it, or give this run another --output
  [1]

A baseline that a model is compared with, and one that was asked something else:

  $ ingot eval plain --tasks piqa --limit 8 --until-clear out/plain --quiet
  plain
    piqa                  8  acc 0.5000 +- 0.1890  acc_norm 0.7500 +- 0.1637
                          8  not clear (alone right: 0; the baseline: 0)
    mean 0.7500 (acc_norm where the task has it)
  $ ingot eval plain --tasks piqa --limit 8 --shots 1 --until-clear out/plain --quiet
  ingot eval: baseline: item 0 of task 'piqa' has another prompt there (other rows, template or examples?)
  [1]

Models that share their prompts in tokens score as each alone:

  $ ingot eval fixtures/models/base fixtures/models/anvil --tasks piqa,boolq --limit 8 --quiet > both
  $ (ingot eval fixtures/models/base --tasks piqa,boolq --limit 8 --quiet; ingot eval fixtures/models/anvil --tasks piqa,boolq --limit 8 --quiet) | diff both -

A model against itself:

  $ ingot eval fixtures/models/base --perplexity fixtures/README.md --kl-to fixtures/models/base --context 128 --limit 2 --quiet | grep same
    same likeliest token           100.000000 +- 0.000000 %
