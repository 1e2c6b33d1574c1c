import type { AdapterSummary, DriverKind } from "../../gpu/adapter.ts";
import type { Gpu } from "../../gpu/device.ts";
import { defaultsOf } from "../../ops/defaults.ts";
import type { Ceilings } from "../ceilings.ts";
import type { Demand } from "./demand.ts";

/**
 * A rough model of time, to leave out what is far slower: never to choose.
 *
 * Instructions are counted in vec4 multiply-adds; a machine has a price for each other kind. The time
 * is the larger of instructions at the measured multiply-add rate and bytes at the measured copy rate,
 * over the share of the machine that is busy: as many workgroups as it runs at once (fill) and as many
 * invocations as hide latencies beside each other's registers and workgroup memory (occupancy).
 */
export interface Machine {
  /** Of a vec4 loaded, by source. */
  readonly load: Readonly<Record<Demand["source"], number>>;
  /** Of a vec4 handed over. */
  readonly exchange: Readonly<Record<Demand["exchange"], number>>;
  /** Workgroups that fill it. */
  readonly workgroups: number;
  /** Invocations beside each other on a core that hide latencies; 1 where nothing is hidden. */
  readonly resident: number;
  /** Registers of 32 bits: of an invocation, beyond which they spill, and of a core. */
  readonly registers: { readonly most: number; readonly core: number };
}

/** llvmpipe, fitted to measurements of 2026-11-22: loads are gathered lane by lane. */
const CPU: Machine = {
  load: { buffer: 130, texture: 30 },
  exchange: { shuffle: 2, broadcast: 2, workgroup: 150 },
  ...{ workgroups: 2, resident: 1, registers: { most: Infinity, core: Infinity } },
};

/** By reasoning (not measured): issue rates of a multiprocessor with 128 lanes and 65,536 registers. */
const GPU: Machine = {
  load: { buffer: 8, texture: 8 },
  exchange: { shuffle: 4, broadcast: 4, workgroup: 2 },
  ...{ workgroups: 256, resident: 256, registers: { most: 255, core: 65_536 } },
};

/** Registers of an invocation on GPUs that have fewer. */
const FEWER_REGISTERS: Readonly<Partial<Record<DriverKind, number>>> = { intel: 128, apple: 128 };

/** Registers for addresses, counters and operands. */
const BESIDE = 32;
/** How much slower instructions are whose registers spill. */
const SPILL = 4;
/** A core has workgroup memory for two of the largest workgroups. */
const LARGEST_WORKGROUPS = 2;

/** The machine behind an adapter. */
export function machineOf(adapter: AdapterSummary): Machine {
  if (!defaultsOf(adapter).parallel) return CPU;
  const most = FEWER_REGISTERS[adapter.driver] ?? GPU.registers.most;
  return { ...GPU, registers: { ...GPU.registers, most } };
}

/** Milliseconds that a demand takes, by the model. */
export function predictedMs(
  demand: Demand,
  { adapter, limits }: Pick<Gpu, "adapter" | "limits">,
  ceilings: Ceilings,
): number {
  const machine = machineOf(adapter);
  const { multiplies, loads, source, exchanges, exchange, workgroups, bytes } = demand;
  const instructions = multiplies + loads * machine.load[source] +
    exchanges * machine.exchange[exchange];
  const spilled = registersOf(demand) > machine.registers.most ? SPILL : 1;
  const fill = Math.min(1, Math.max(1, workgroups) / machine.workgroups);
  const busy = fill * occupancy(demand, machine, limits.maxComputeWorkgroupStorageSize);
  const computeMs = 8 * instructions * spilled / ceilings.gflops / 1e6 / busy;
  return Math.max(computeMs, bytes / ceilings.gbps / 1e6);
}

/** The share of a core's rate that so many invocations beside each other reach. */
function occupancy(demand: Demand, machine: Machine, memory: number): number {
  const { threads, workgroupBytes } = demand;
  const byRegisters = machine.registers.core /
    Math.min(registersOf(demand), machine.registers.most);
  const byMemory = workgroupBytes === 0
    ? Infinity
    : threads * Math.floor(LARGEST_WORKGROUPS * memory / workgroupBytes);
  return Math.min(1, Math.min(byRegisters, byMemory) / machine.resident);
}

/** Registers of 32 bits of an invocation. */
function registersOf({ registers }: Demand): number {
  return 4 * registers + BESIDE;
}
