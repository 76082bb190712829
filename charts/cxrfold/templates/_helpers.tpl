{{/* The release's name, at most 63 characters; object names build on it. */}}
{{- define "cxrfold.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cxrfold.labels" -}}
app.kubernetes.io/name: cxrfold
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "cxrfold.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "cxrfold.name" .) -}}
{{- end -}}

{{- define "cxrfold.queue" -}}
{{- .Values.queue.name | default (include "cxrfold.name" .) -}}
{{- end -}}

{{/* The Secret with the store's keys; empty where the service account itself carries the right. */}}
{{- define "cxrfold.secret" -}}
{{- if .Values.store.existingSecret -}}
{{- .Values.store.existingSecret -}}
{{- else if .Values.store.accessKeyId -}}
{{- printf "%s-store" (include "cxrfold.name" .) -}}
{{- end -}}
{{- end -}}

{{/* An image by its name. Without a tag it is the profile's {revision}, which cv.py submit fills in. */}}
{{- define "cxrfold.image" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}
{{- with $root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $name }}:{{ $root.Values.images.tag | default "{revision}" -}}
{{- end -}}

{{/* The pods that the pipeline starts, whichever stage they are. */}}
{{- define "cxrfold.pods" -}}
matchExpressions:
  - {key: cxrfold/run, operator: Exists}
{{- end -}}

{{/* The port of an http(s) address: the one it names, or its scheme's. */}}
{{- define "cxrfold.port" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host -}}
{{- regexFind "[0-9]+$" $host -}}
{{- else -}}
{{- hasPrefix "https:" . | ternary 443 80 -}}
{{- end -}}
{{- end -}}

{{/* The peers behind an address within the cluster, name.namespace.svc: the pods of that namespace. Else nothing. */}}
{{- define "cxrfold.peers" -}}
{{- $host := (urlParse .).hostname -}}
{{- if regexMatch "^[^.]+[.][^.]+[.]svc([.]|$)" $host }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ index (splitList "." $host) 1 }}
{{- end -}}
{{- end -}}
