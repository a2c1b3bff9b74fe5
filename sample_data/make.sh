#!/bin/sh
# Makes the data sets of this folder again: sh sample_data/make.sh [FOLDER]
set -eu
folder=${1:-$(dirname "$0")}
calomlp simulate siw-ecal -n 4000 -E 1:100 --seed 1 -o "$folder/electrons.root"
calomlp simulate ahcal -n 4000 -E 4:100 -p pi- --seed 2 --container rntuple -o "$folder/pions.root"
