# descbench with all that its tables need, for the CPU:
#   docker build -t descbench .
#   docker run --rm -v "$PWD:/work" descbench snakemake -s /opt/descbench/Snakefile --cores 8 results/table2.csv
# or for CUDA machines:
#   docker build -t descbench:gpu --build-arg REQUIREMENTS=requirements/gpu.txt .
#   docker run --rm --gpus all -v "$PWD:/work" descbench:gpu snakemake -s /opt/descbench/Snakefile --cores 8 results/table2.csv
# Data and results lie in the folder that is mounted at /work.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/descbench
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# Packages before the code, so that a change of the code builds these alone.
COPY requirements requirements
ARG REQUIREMENTS=requirements/cpu.txt
RUN pip install --no-cache-dir -r "$REQUIREMENTS" -r requirements/backends.txt
COPY . .
RUN pip install --no-cache-dir --no-build-isolation --no-deps --editable .

FROM python:3.11-slim-bookworm
# OpenMP for the compiled modules and torch; git, by which results name the revision that made them.
RUN apt-get update && apt-get install -y --no-install-recommends git libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/descbench /opt/descbench
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /work
CMD ["descbench", "--help"]
