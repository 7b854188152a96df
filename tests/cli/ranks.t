Several processes under mpirun make what one makes, byte for byte. A program built without MPI says so.

  $ printf 'merge_method: yoyo_fusion\nmodels:\n  - model: fx/models/anvil\n  - model: fx/models/lantern\n  - model: fx/models/ballad\nout_dtype: bfloat16\n' > r.yaml
  $ export ASAN_OPTIONS=detect_leaks=0 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
  $ ranks() { n=$1; shift; mpirun --oversubscribe -n $n ingot "$@"; }
  $ digest() { (cd "$1" && find . -type f ! -name ingot.json ! -name README.md | LC_ALL=C sort | xargs cat | sha256sum); }
  $ has() { command -v mpirun > log && ! OMPI_COMM_WORLD_SIZE=2 ingot list methods 2>&1 | grep -q 'built without MPI'; }
  $ if has; then for n in 2 4; do ingot merge r.yaml one -q --quantize none,mxfp4 > log && ranks $n merge r.yaml many --quantize none,mxfp4 -q > log 2>&1 || cat log; for q in none mxfp4; do digest one/$q > want; digest many/$q | cmp - want; done; (cd one && ls . none) > want; (cd many && ls . none) | cmp - want; rm -r one many; done; fi
  $ if has; then ingot quantize fx/models/anvil one -q --recipe qx86-hi > log; ranks 3 quantize fx/models/anvil many -q --recipe qx86-hi > log 2>&1 || cat log; digest one > want; digest many | cmp - want; rm -r one many; fi

A rank that is killed ends the run; it goes on with another number of ranks.

  $ if has; then ingot merge r.yaml one -q > log; digest one > want; for i in 1 2 3 4 5; do rm -rf many many.partial; (ranks 4 merge r.yaml many -q --force > log 2>&1; true) & sleep 0.$((i * 13 % 7))5; pkill -9 -n -f 'ingot merge r.yaml many' > log 2>&1; wait; [ -e many ] || ranks 2 merge r.yaml many -q --resume > log 2>&1 || cat log; digest many | cmp - want; done; fi

Evaluation shares the items; the files are those of one process but for the time, and a killed rank loses nothing.

  $ files() { (cd "$1" && for f in */samples_*; do echo "${f%%_2*}"; cat "$f"; done; ls */ | grep log) | sha256sum; }
  $ if has; then ingot eval fx/models/anvil -q -t mini -l 30 -o one > log; ranks 3 eval fx/models/anvil -q -t mini -l 30 -o many > got 2> err || cat err; cmp log got; files one > want; files many | cmp - want; fi
  $ if has; then (ranks 4 eval fx/models/anvil -q -t mini -l 60 -o cut > log 2>&1; true) & sleep 0.8; pkill -9 -n -f 'ingot eval fx/models/anvil -q -t mini -l 60 -o cut' > log 2>&1; wait; rm -f cut/*/samples* cut/*/results*; ranks 2 eval fx/models/anvil -q -t mini -l 60 -o cut > got 2> err || cat err; ingot eval fx/models/anvil -q -t mini -l 60 -o whole > log; cmp log got; files whole > want; files cut | cmp - want; fi

Only the first rank prints; another command is the first rank's alone.

  $ if has; then ranks 3 list recipes | grep -c '^q4'; else echo 1; fi
  1
