/** What a schedule asks of a device, in vec4 of all invocations; rough, for a prediction. */
export interface Demand {
  /** Multiply-adds, those of idle lanes and of hidden pairs of visited tiles included. */
  readonly multiplies: number;
  /** Loads of rows. */
  readonly loads: number;
  /** Where rows are loaded from. */
  readonly source: "buffer" | "texture";
  /** Values that invocations hand to each other. */
  readonly exchanges: number;
  /** How they do. */
  readonly exchange: "shuffle" | "broadcast" | "workgroup";
  /** vec4 that an invocation holds. */
  readonly registers: number;
  /** Bytes of workgroup memory of a workgroup. */
  readonly workgroupBytes: number;
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Workgroups that can run at the same time. */
  readonly workgroups: number;
  /** Bytes that move at least: inputs, outputs, copies, partial results. */
  readonly bytes: number;
}
