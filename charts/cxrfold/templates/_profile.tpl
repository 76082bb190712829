{{/* The profile that matches this installation, for cv.py submit --profile: nothing is to be said twice. */}}
{{- define "cxrfold.profile" -}}
{{- $store := dict "url" .Values.store.url "region" .Values.store.region "addressing" .Values.store.addressing -}}
{{- with .Values.store.endpoint }}{{ $_ := set $store "endpoint" . }}{{ end -}}
{{- with include "cxrfold.secret" . }}{{ $_ := set $store "secret" . }}{{ end -}}
{{- $images := dict "pull_policy" .Values.images.pullPolicy "pull_secrets" .Values.images.pullSecrets -}}
{{- range $field, $name := dict "small" "cxrfold-small" "base" "cxrfold" "detector" "cxrfold-detector" -}}
{{- $_ := set $images $field (include "cxrfold.image" (list $ $name)) -}}
{{- end -}}
{{- $profile := dict "name" .Release.Name "namespace" .Release.Namespace "store" $store "images" $images -}}
{{- $_ := set $profile "service_account" (include "cxrfold.serviceAccount" .) -}}
{{- if .Values.queue.enabled }}{{ $_ := set $profile "queue" (include "cxrfold.queue" .) }}{{ end -}}
{{- with .Values.pushgateway }}{{ $_ := set $profile "pushgateway" . }}{{ end -}}
{{- toYaml (merge $profile .Values.profile) -}}
{{- end -}}
