export { rooflineChart } from "./roofline_chart.ts";
export { timesChart } from "./times_chart.ts";
