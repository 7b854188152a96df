Runs of the harness and of ours meet: the same rows and prompts, whoever scored them.

  $ ingot eval fx/models/anvil --tasks boolq,piqa --limit 6 --output six --quiet > /dev/null
  $ ingot compare $INGOT_TESTS/golden/compare/lm-eval six --tasks boolq,piqa
  model   boolq    piqa  mean of 2
  base   0.667*  0.667       0.667
  anvil  0.667*  1.000*     0.833*
  * best of its column, which is no test; acc: boolq; acc_norm: piqa
  
  anvil against base
  task       items  lost  gained  points   95 % interval      p  p (Holm)  margins  verdict
  boolq          6     0       0    +0.0  -39.0 to +39.0  1.000     1.000    0.125  not distinguishable (the same on all 6 items)
  piqa           6     0       2   +33.3  -18.7 to +70.0  0.250     0.500    0.688  not distinguishable (only 2 of 6 items differ)
  mean of 2     12                 +16.7  -15.9 to +43.4  0.315                     not distinguishable (finds differences from 29.7 points)
  anvil: not distinguishable on any of 2 tasks; mean of 2 +16.7 points: not distinguishable (finds differences from 29.7 points)
  
  counted together: boolq 6 items, 5 by article
  $ ingot compare $INGOT_TESTS/golden/compare/lm-eval six | tail -n 8
  anvil: not distinguishable on any of 2 tasks; mean of 2 +16.7 points: not distinguishable (finds differences from 29.7 points)
  
  counted together: boolq 6 items, 5 by article; winogrande 6 items, 3 by twin pair
  note: anvil was not run on arc_challenge
  note: anvil was not run on arc_easy
  note: anvil was not run on hellaswag
  note: anvil was not run on openbookqa
  note: anvil was not run on winogrande

A card says what bold means; a plan, of how many points; of one model nothing is best.

  $ ingot compare $INGOT_TESTS/golden/compare/lm-eval six --tasks piqa --markdown | grep -e best -e "^| anvil"
  | anvil | **1.000** | **1.000** |
  Bold: best of its column, which is no test; acc_norm: piqa
  $ ingot compare $INGOT_TESTS/golden/compare/lm-eval six --tasks piqa --plan 0.02 | grep -o "items for .*"
  items for 2 points  verdict
  $ ingot compare six --tasks piqa | tail -n 2
  anvil  1.000      1.000
  acc_norm: piqa

Runs of other items are refused, and the items named.

  $ ingot eval fx/models/anvil --tasks piqa --limit 5 --output five --quiet > /dev/null
  $ ingot compare six five --tasks piqa
  ingot compare: 'five/fx__models__anvil' cannot be compared with 'six/fx__models__anvil': piqa: 5 items against 6; doc_ids that only one has: 5 (--limit?)
  [1]
  $ ingot eval fx/models/anvil --tasks piqa --limit 6 --chat-template --output chat --quiet > /dev/null
  $ ingot compare six chat --tasks piqa
  ingot compare: 'chat/fx__models__anvil' cannot be compared with 'six/fx__models__anvil': piqa: 6 of 6 prompts differ (prompt_hash; doc_ids 0, 1, 2, ..): another chat template, other examples or release?
  [1]
  $ ingot compare six six
  ingot compare: 'six/fx__models__anvil' is given twice
  'ingot compare --help' tells more
  [2]
  $ ingot compare six --baseline anvill
  ingot compare: no model 'anvill' to compare with; there is anvil
  'ingot compare --help' tells more
  [2]
  $ ingot compare six --tasks "boolq, piqq"
  ingot compare: no run has samples of task 'piqq'
  'ingot compare --help' tells more
  [2]
  $ ingot compare six --tasks "boolq, piqa" | head -n 1
  model  boolq   piqa  mean of 2
  $ ingot compare nowhere
  ingot compare: no such folder: 'nowhere'
  [1]
  $ ingot compare
  ingot compare: RESULT is missing
  'ingot compare --help' tells more
  [2]
  $ ingot compare six --json --markdown
  ingot compare: --json or --markdown, not both
  'ingot compare --help' tells more
  {"error":{"code":"usage","message":"--json or --markdown, not both"}}
  [2]
  $ ingot compare six --table x.tsv
  ingot compare: --table has no items: no runs, --tasks, --flips or --plan beside it
  'ingot compare --help' tells more
  [2]

Published numbers, and hostile names.

  $ printf 'model\topenbookqa\tx|y\n\033[31m\302\233red\t0.424\t1\nb\t0.433\t-\n' > t.tsv
  $ ingot compare --table t.tsv | head -n 4
  model       openbookqa  x|y    mean
  ?[31m??red       0.424    1  0.7120
  b              0.433?*    -       -
  ? b, openbookqa: no number of right items of 500 gives 0.433: a --limit was used, or it is mistyped
  $ ingot compare --table t.tsv --markdown | head -n 4
  | model | openbookqa | x\|y | mean |
  |---|---:|---:|---:|
  | ?\[31m??red | 0.424 | 1 | 0.7120 |
  | b | **0.433?** | - | - |
  $ ingot compare --table t.tsv --json
  {"items":{"openbookqa":500,"x|y":0},"rows":[{"table":"","model":"?[31m??red","mean":0.712,"values":{"openbookqa":0.424,"x|y":1.0},"impossible":[]},{"table":"","model":"b","mean":null,"values":{"openbookqa":0.433},"impossible":["openbookqa"],"baseline":"?[31m??red","profile":"from numbers alone it cannot be told on the only task","pairs":[{"task":"openbookqa","verdict":"cannot be told","words":"cannot be told; paired: if at most 1 % changed side","difference":0.009000000000000008,"low":-0.05216295642143698,"high":0.0700679322948341,"p":0.7736833097564386,"p_holm":0.7736833097564386,"paired":[0.01518181574257992,0.021470329724605886,0.03036363148515984]}]}]}
  $ printf 'model\tpiqa\na\t78.8\n' > t.tsv; ingot compare --table t.tsv
  ingot compare: 't.tsv': line 2: piqa: '78.8' is more than 1: accuracies are shares, 0.469 and not 46.9
  [1]

The same as a page: names are escaped, each table its own, the best of a column marked.

  $ printf 'table\tmodel\topenbookqa\tpiqa\nA\t<b>x\t0.424\t0.788\nA\ty\t0.433\t0.70\nB\tz\t0.4\t-\n' > t.tsv
  $ ingot compare --table t.tsv --html t.html > /dev/null; grep -o '<h[123]>[^<]*</h[123]>\|&lt;b&gt;x against[^<]*\|<b>x' t.html
  <h1>Comparison of published numbers</h1>
  <h2>A</h2>
  <h3>y against &lt;b&gt;x</h3>
  <h2>B</h2>
  $ grep -o 'Worse on[^<]*\|[?] y, open[^<]*' t.html
  ? y, openbookqa: no number of right items of 500 gives 0.433. Not all items were used, or the number is mistyped.
  Worse on piqa (-8.8); from numbers alone it cannot be told on the other task; mean of 2 -3.9 points: worse.
  $ ingot compare --table t.tsv --html nowhere/t.html
  ingot compare: cannot create 'nowhere/t.html.partial': No such file or directory
  [1]

A samples file that breaks off.

  $ mkdir cut; for f in six/*/samples_piqa*; do head -c 1500 $f > cut/samples_piqa_1.jsonl; done; ingot compare cut
  ingot compare: 'cut/samples_piqa_1.jsonl', line 2: JSON, line 1, column 490: premature EOF
  [1]
