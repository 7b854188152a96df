The same recipe gives the same bytes, whatever the threads and the instruction set (a set that this machine lacks is
skipped), and after a kill at any moment.

  $ printf 'merge_method: yoyo_fusion\nmodels:\n  - model: fx/models/anvil\n  - model: fx/models/lantern\n  - model: fx/models/ballad\nout_dtype: bfloat16\n' > r.yaml
  $ digest() { (cd "$1" && find . -type f ! -name ingot.json ! -name README.md | LC_ALL=C sort | xargs cat | sha256sum); }
  $ ingot merge r.yaml first -q > log && digest first > want
  $ for n in 1 2 3 8; do ingot merge r.yaml out -q -j $n > log; digest out | cmp - want; rm -r out; done
  $ for isa in ref avx2 avx512 neon; do IG_KERNELS=$isa ingot list methods > log 2>&1 || continue; IG_KERNELS=$isa ingot merge r.yaml out -q > log; digest out | cmp - want; rm -r out; done
  $ ingot merge r.yaml small -q --memory 8M > log; digest small | cmp - want
  $ for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  >   rm -rf out out.partial
  >   ingot merge r.yaml out -q > log 2>&1 & pid=$!
  >   sleep 0.0$(( (i * 7) % 10 ))$i; kill -9 $pid 2> log; wait $pid 2> log
  >   if [ -e out ]; then digest out | cmp - want; continue; fi
  >   ingot merge r.yaml out -q --resume > log 2>&1 || cat log
  >   digest out | cmp - want
  > done; rm -rf out out.partial

Several outputs too, of which some may be finished when the kill comes.

  $ ingot merge r.yaml pair -q --quantize none,mxfp4 > log && for n in none mxfp4; do digest pair/$n > want-$n; done
  $ for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  >   rm -rf out
  >   ingot merge r.yaml out -q --quantize none,mxfp4 > log 2>&1 & pid=$!
  >   sleep 0.$(( (i * 7) % 10 / 5 ))$i; kill -9 $pid 2> log; wait $pid 2> log
  >   ls out/none out/mxfp4 > log 2>&1 && ! ls out/*.partial* > log 2>&1 && continue
  >   ingot merge r.yaml out -q --quantize none,mxfp4 --resume > log 2>&1 || cat log
  >   for n in none mxfp4; do digest out/$n | cmp - want-$n; done; ls out
  > done | sort | uniq -c | sed 's/^ *[0-9]* //'
  mxfp4
  none
  $ rm -rf out

Quantising too; and merging and quantising in one pass is merging, then quantising.

  $ ingot quantize first q -q --recipe qx86-hi > log && digest q > want
  $ for n in 1 2 3 8; do ingot quantize first out -q --recipe qx86-hi -j $n > log; digest out | cmp - want; rm -r out; done
  $ for isa in ref avx2 avx512 neon; do IG_KERNELS=$isa ingot list methods > log 2>&1 || continue; IG_KERNELS=$isa ingot quantize first out -q --recipe qx86-hi > log; digest out | cmp - want; rm -r out; done
  $ ingot quantize first many -q --recipe qx86-hi,qx65-hi,mxfp4 > log && digest many/qx86-hi | cmp - want
  $ ingot merge r.yaml both -q --quantize none,qx86-hi > log && cmp both/none/model.safetensors first/model.safetensors && for f in model.safetensors config.json model.safetensors.index.json; do cmp both/qx86-hi/$f q/$f; done
