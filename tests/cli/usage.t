What a newcomer types first.

  $ ingot --version
  ingot 0.1.0
  $ ingot merg
  ingot: unknown command 'merg'; did you mean merge?
  'ingot --help' lists the commands
  [2]
  $ ingot merge
  ingot merge: RECIPE.yaml is missing
  'ingot merge --help' tells more
  [2]
  $ ingot merge recipe.yaml out --dryrun
  ingot merge: unknown option '--dryrun'; did you mean --dry-run?
  'ingot merge --help' tells more
  [2]
  $ ingot quantize m out --bits 9
  ingot quantize: --bits: 9 is out of range: 0 to 8
  'ingot quantize --help' tells more
  [2]
  $ IG_KERNELS=sse ingot list methods
  ingot list: IG_KERNELS='sse' is unknown; it may be ref, avx2, avxvnni, avx512vnni, avx512 or neon
  'ingot list --help' tells more
  [2]
  $ ingot list tensors
  ingot list: cannot list 'tensors'
  'ingot list --help' tells more
  [2]
  $ ingot list recipe --json
  ingot list: cannot list 'recipe'; did you mean recipes?
  'ingot list --help' tells more
  {"error":{"code":"usage","message":"cannot list 'recipe'; did you mean recipes?"}}
  [2]
  $ ingot quantize m out --recipe qx86-hi --bits 4
  ingot quantize: --recipe decides mode, bits and group size: leave those out
  'ingot quantize --help' tells more
  [2]
  $ ingot merge nowhere.yaml out --json
  ingot merge: cannot open 'nowhere.yaml': No such file or directory
  {"error":{"code":"io","message":"cannot open 'nowhere.yaml': No such file or directory"}}
  [1]
