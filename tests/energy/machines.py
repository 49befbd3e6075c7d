"""Made-up machines that say what they take."""

from pathlib import Path

# Output of `vcgencmd pmic_read_adc`: rails of 3.3 W and 2.5 W, and a voltage without a current.
FIRMWARE = """\
   3V3_SYS_A current(0)=1.00000000A
   VDD_CORE_A current(1)=2.50000000A
   3V3_SYS_V volt(8)=3.30000000V
   VDD_CORE_V volt(9)=1.00000000V
     EXT5V_V volt(24)=5.15000000V
"""


def zone(root: Path, name: str, kind: str, microjoules: str, largest: int = 10_000_000) -> Path:
    folder = root / "class/powercap" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(kind + "\n")
    (folder / "energy_uj").write_text(microjoules + "\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder / "energy_uj"
