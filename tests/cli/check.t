What of the models does not go together, before a byte is written.

  $ cp -r fx/models/anvil twin; cp -r fx/models/ballad odd; sed -i 's/"rope_theta": 10000.0/"rope_theta": 5000000.0/' odd/config.json; echo '{{ messages }}' > odd/chat_template.jinja
  $ printf 'merge_method: linear\nmodels:\n  - {model: fx/models/anvil, parameters: {weight: [{filter: mlp, value: [0, 1]}, {value: 0.5}]}}\n  - {model: twin}\n  - {model: odd}\nparameters: {weight: 1}\n' > r.yaml
  $ ingot merge r.yaml out --check
  method   linear: weighted mean of the models
  models   fx/models/anvil
           twin
           odd
  tensors  47: 47 merged, 0 copied
  read     7.87 MB
  write    2.62 MB to out
  memory   6.4 MB on 2 threads
  parameters, and how many tensors they reach
    normalize: true on 47
    weight of fx/models/anvil: 0.5 on 35, 0 on 3, 0.333333 on 3, 0.666667 on 3, 1 on 3
    weight of twin: 1 on 47
    weight of odd: 1 on 47
  3 things to look at
    config: rope_theta: 10000.0 in 'fx/models/anvil', 5000000.0 in 'odd'
    models: 'fx/models/anvil' and 'twin' look the same: a copy?
    template: 'odd' has another chat template than 'fx/models/anvil', whose is taken
  $ ingot merge r.yaml out --check --json | grep -c '"about"'
  3
  $ ls out
  ls: cannot access 'out': No such file or directory
  [2]
