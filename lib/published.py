"""Numbers that the reproduced papers print, each with where it stands, and the names of their methods."""

# What `published=` takes wherever the methods of Tuckute, Feather, Boebinger & McDermott (2023) differ from ours.
RULES = ("tuckute2023",)

# Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol, doi:10.1371/journal.pbio.3002366, figure 4C:
# r² of the SpectroTemporal model for each component, printed to two digits.
SPECTEMP_COMPONENTS = {
    "lowfreq": 0.71,
    "highfreq": 0.55,
    "envsounds": 0.45,
    "pitch": 0.53,
    "speech": 0.66,
    "music": 0.34,
}
