// What the dashboards of Usher may say, in the words of @grafana/schema: the whole of a dashboard, and of each kind of
// panel in use its options, its fields and its queries.
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from 'grafana/dashboard/x/types.gen';
import type * as timeseries from 'grafana/composable/timeseries/panelcfg/x/types.gen';
import type * as stat from 'grafana/composable/stat/panelcfg/x/types.gen';
import type * as table from 'grafana/composable/table/panelcfg/x/types.gen';
import type * as heatmap from 'grafana/composable/heatmap/panelcfg/x/types.gen';
import type { DataQuery } from '@grafana/schema';

interface PrometheusQuery extends DataQuery { expr: string; legendFormat: string; editorMode: 'code'; range?: boolean; instant?: boolean; exemplar?: boolean; format?: 'table' | 'heatmap' }
type Fields<C> = Omit<FieldConfigSource, 'defaults'> & { defaults: Omit<FieldConfig, 'custom'> & { custom: C } };
type Of<T extends string, O, C> = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & { type: T; options: O; fieldConfig: Fields<C>; targets: PrometheusQuery[] };

type AnyPanel = RowPanel
  | Of<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Of<'stat', stat.Options, Record<string, never>>
  | Of<'table', table.Options, Partial<table.FieldConfig>>
  | Of<'heatmap', heatmap.Options, heatmap.FieldConfig>;

export type UsherDashboard = Omit<Dashboard, 'panels'> & { panels: AnyPanel[] };
