#!/bin/sh
# Draws the figures of the README again, from a network that is trained on the sample of pions here and tested on others,
# of more energies than it has seen: sh sample_data/gallery.sh [FOLDER]
set -eu
here=$(dirname "$0")
figures=${1:-$here/../.github/figures/gallery}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

calomlp simulate ahcal -p pi- -n 40k -E 2:140 --hits --seed 3 -q -o "$work/others.root"
calomlp train "$here/pions.root" --loss gaussian-nll --learning-curve -q -o "$work/model.safetensors"
calomlp evaluate "$work/model.safetensors" "$work/others.root" --importance \
  --by true_em_fraction:8 --by true_vertex_depth:8 -q -o "$work/report.json"
calomlp train "$here/pions.root" --find-lr -q >"$work/rates.json"
for thickness in 10 14 17 20 25; do
  calomlp simulate ahcal -p pi- -n 20k -E 5:60 --set layers.absorber.thickness=${thickness}mm -q \
    -o "$work/scan-$thickness.root" | calomlp train - --epochs 5 -q -o "$work/scan-$thickness.safetensors" \
    | calomlp evaluate - -q -o "$work/scan-$thickness.json" >/dev/null
done

draw() { calomlp plot "$@" --format png --dpi 110 --force -q -o "$figures/" >/dev/null; }
draw "$work/report.json"
draw "$work/rates.json"
draw "$work"/scan-*.json -k scan --x absorber.thickness --y 'resolution[20]' --y 'ratio.sum[20]'
draw "$work/others.root"
