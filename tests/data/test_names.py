"""The table of words, held against names of branches as they stand in real files."""

from __future__ import annotations

import pytest

from calomlp.data.names import Role, energy_in, role_of, unit_in, words

NAMES: dict[Role, dict[str, str]] = {
    Role.ENERGY: {
        "EDM4hep": "ECalBarrelCollection.energy SimCalorimeterHitCollection.energy HCalEndcapPositiveCells.energy "
        "CaloHitContributionCollection.energy ClusterCollection.energy EMCALClusters/EMCALClusters.energy "
        "ReconstructedParticles.energy",
        "particle flow": "ecal hcal ho Ecal Hcal ECAL HCAL eecal_raw_energy hcal_energy ho_energy hf EcalEnergy hcalE",
        "HGCAL": "rechit_energy hgcrechit_energy tc_energy cl3d_energy simhit_energy cluster2d_energy multiclus_energy",
        "CALICE": "ahc_hitEnergy hitEnergy energySum sdhcal_energy eHit tcmt_energy TailCatcher_E dhcal_esum",
        "Geant4": "Egap EGap Edep edep EnergyCalo energyDep fEdep e_dep layer_e layer_ebirks crystal_e cell_e hit_e "
        "Edep_layer E_vis Evis visE visible_energy depositedEnergy totalEdep",
        "GATE": "energy Energy energyDeposit",
        "test beam": "E1 E9 E25 e3x3 e_1 e_sum Etot energy_total calib_energy reco_energy recoE cellE energy_MeV sumE "
        "mcal_energy MCAL_energy preshower scin_e e_seed C_energy cherenkov tower_e lg_energy "
        "E_ecal E_hcal energy_ecal_layer0 L1_E calo0 CherenkovPhotons ScintPhotons layer_energy energy_3",
    },
    Role.SIGNAL: {
        "electronics": "adc ADC adc_sum hit_adc PMT_charge mcp_charge hit_charge amplitude pulse_integral npe ph qdc "
        "signal_3 sipm_charge adc_3 PMT1 SiPM_12 nPE_cher ch15_integral Q",
    },
    Role.TRANSVERSE: {"NanoAOD": "Photon_pt Electron_pt tc_pt cl3d_pt cluster_et sumEt"},
    Role.LAYER: {"hits": "hit_layer rechit_layer tc_layer Layer layer iLayer hit_k K depth ECal.layer"},
    Role.POSITION: {
        "hits": "hit_x hit_ix hit_iy hit_iz cell_x posX localPosY rechit_eta rechit_phi ieta iphi hit_i hit_j "
        "ECalBarrelCollection.position.x",
        "objects": "Row row Column column eta phi theta cluster_x cluster_eta beam_x track_x Photon_eta dwc_x cog_z",
    },
    Role.TIME: {"hits": "hit_time hit_t cluster_time hit_tdc toa"},
    Role.SHAPE: {
        "objects": "Photon_r9 Photon_sieie Photon_hoe sigmaIetaIeta R9 emFraction cl3d_showerlength cl3d_srrtot rms_x "
        "sigma_z cluster_width energy_fraction skewness",
    },
    Role.COUNT: {"numbers": "nhit nhits n_hits nHits NHits n_cells ncells nCells nTowers cluster_nhits N numHits"},
    Role.CHARGE: {"particles": "charge Electron_charge Muon_Charge track_charge"},
    Role.MOMENTUM: {"particles": "p px py Muon_Px track_p MCP.momentum.x tracks.momentum.z mass"},
    Role.ERROR: {"uncertainties": "Photon_energyErr Electron_energyErr energyError position_err sigma_unc trackChi2_X"},
    Role.TRUTH: {
        "simulation": "true e_true trueE true_energy trueEnergy mc_energy mcEnergy MC_e genE gen_pt gen_energy "
        "GenPart_pt MCParticles.momentum.z pdg pdgId pdg_id Ekin kineticEnergy E_mc Egen simEnergy sim_energy truth_e",
        "beams": "beam_energy E_beam Ebeam beamEnergy incident_energy primaryEnergy nominal_energy beam_momentum beam",
    },
    Role.MATERIAL: {"simulation": "Eabs EAbs e_abs e_act EnergyAbs absorber_energy e_dead dead_energy passive_e"},
    Role.SIMULATION: {
        "simulation": "leak_rear leak_front leak_nu rear_leakage energy_leak escaped_e killed lost_energy cpu_s "
        "e_act_gate invisible_energy secondaries nSecondaries Labs Lgap x0 y0 vertex_z vx wallTime",
    },
    Role.BOOKKEEPING: {
        "numbers": "event Event event_id EventID eventNumber evt run runNumber lumi luminosityBlock seed index row_id "
        "weight EventWeight cellID hit_id timestamp trackStatus HLT_Ele35 Flag_ecalLaserCorrFilter spill",
    },
    Role.OTHER: {
        "anything": "voltage temperature r_mean hit_type nvtx njets nPhoton PV_npvs Jet_btag MET_sumEt awk value f "
        "fixedGridRhoFastjetCentralCalo FatJet_deepTagMD_bbvsLight",
    },
}
ALL = [(name, role) for role, sources in NAMES.items() for names in sources.values() for name in names.split()]


def test_the_table_is_large() -> None:
    assert len(ALL) >= 150
    assert len({name for name, _ in ALL}) == len(ALL)


@pytest.mark.parametrize(("name", "role"), ALL)
def test_names(name: str, role: Role) -> None:
    assert role_of(name) is role, words(name)


@pytest.mark.parametrize(
    ("name", "energy"),
    [
        *(
            (name, True)
            for name in ("true", "e_true", "gen_energy", "gen_pt", "E_beam", "MC_e", "beam", "Ekin", "hit_e")
        ),
        *(
            (name, False)
            for name in ("pdg", "true_x", "true_vertex_z", "GenMET_pt", "gen_weight", "mc_status", "MC_index")
        ),
        *((name, False) for name in ("true_nhit", "gen_eta", "genJet_charge", "truth_time", "row", "nhit")),
    ],
)
def test_what_can_be_an_energy_true_or_measured(name: str, energy: bool) -> None:
    assert energy_in(name) is energy


def test_units_at_the_end_of_names() -> None:
    names = ("energy_MeV", "trueEnergyMeV", "E_GeV", "true_energy_kev", "energy", "MeV")
    assert list(map(unit_in, names)) == ["MeV", "MeV", "GeV", "keV", None, None]
